//! A desk that works by itself: a daemon of several encoders that takes jobs as they come and answers each as its
//! encoder does, with cards in memory. `tests/sdk/suite.*` know the encoders by their names.

use crate::support::{Desk, World, report};
use encoderd::api::bridge::{
    EncodeWork, Encoded, EncoderState, Failed, Job, JobWork, Outcome, Scanned, ScannedCredential, StartResponse,
};
use encoderd::clock;
use encoderd::fault::{Fault, FaultKind};
use std::collections::BTreeMap;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// What happens on an encoder.
#[derive(Clone, Copy)]
enum Encoder {
    /// One card lies there, blank at first, and stays.
    OneCard,
    /// Each credential that is on no card yet is given a blank one; the last one lies there.
    Dispenser,
    /// Every job ends like this.
    Fails(FaultKind),
    /// Takes jobs, and is not heard of again.
    Stuck,
    /// Not plugged in.
    Unplugged,
}

const ENCODERS: &[(&str, Encoder)] = &[
    ("Front Desk", Encoder::OneCard),
    ("Dispenser", Encoder::Dispenser),
    ("Empty", Encoder::Fails(FaultKind::NoCard)),
    ("Wrong Cards", Encoder::Fails(FaultKind::UnsupportedCard)),
    ("Shaky Hands", Encoder::Fails(FaultKind::CardLeft)),
    ("Silent", Encoder::Fails(FaultKind::EncoderSilent)),
    ("Stuck", Encoder::Stuck),
    ("Unplugged", Encoder::Unplugged),
];

/// The desk at work; it stops when it is dropped.
pub struct AutoDesk(JoinHandle<()>);

impl AutoDesk {
    pub async fn start(world: &World) -> Self {
        let desk = Desk::new(world);
        let reports: Vec<_> = ENCODERS
            .iter()
            .map(|(name, encoder)| {
                let mut report = report(name, None);
                (*name).clone_into(&mut report.display_name);
                if matches!(encoder, Encoder::Unplugged) {
                    report.state = EncoderState::Offline;
                }
                report
            })
            .collect();
        let links = desk.sync(&reports).await.links;
        let spots = links.iter().map(|link| {
            let (name, encoder) = ENCODERS.iter().find(|(name, _)| *name == link.device_id).unwrap();
            (link.acs_encoder_id, Spot { encoder: *encoder, card: Card::blank(name, 1) })
        });
        let spots = spots.collect();
        Self(tokio::spawn(work(desk, spots)))
    }

    /// Stops the desk; panics if it had stopped by itself.
    pub async fn stop(mut self) {
        self.0.abort();
        let end = (&mut self.0).await.unwrap_err();
        assert!(end.is_cancelled(), "the desk ended: {end}");
    }
}

impl Drop for AutoDesk {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn work(desk: Desk, mut spots: BTreeMap<Uuid, Spot>) {
    let mut stuck = Vec::new();
    loop {
        let Some(job) = desk.next(20, &stuck).await else { continue };
        if let StartResponse::Refused { .. } = desk.start(&job).await {
            continue;
        }
        match spots.get_mut(&job.acs_encoder_id).unwrap().outcome(&job) {
            Some(outcome) => {
                desk.finish(&job, &outcome).await;
            }
            None => stuck.push(job.action_attempt_id),
        }
    }
}

/// An encoder and the card on it.
struct Spot {
    encoder: Encoder,
    card: Card,
}

impl Spot {
    fn outcome(&mut self, job: &Job) -> Option<Outcome> {
        let kind = match (self.encoder, &job.work) {
            (Encoder::Stuck, _) => return None,
            (Encoder::Unplugged, _) => FaultKind::EncoderOffline,
            (Encoder::Fails(kind), _) => kind,
            (Encoder::Dispenser, JobWork::Encode(work)) if work.card_number.is_none() => {
                self.card = self.card.another();
                return Some(self.card.write(work));
            }
            (Encoder::OneCard | Encoder::Dispenser, JobWork::Encode(work)) => {
                if work.card_number.as_ref().is_none_or(|number| *number == self.card.number()) {
                    return Some(self.card.write(work));
                }
                FaultKind::CredentialOnAnotherCard
            }
            (Encoder::OneCard | Encoder::Dispenser, JobWork::Raw(_)) => FaultKind::ImageRefused,
            (Encoder::OneCard | Encoder::Dispenser, JobWork::Scan) => return Some(self.card.read()),
        };
        let fault = Fault::from(kind);
        Some(Outcome::Failed(Failed { fault, card_number: None, in_doubt: false, simulated: true }))
    }
}

struct Card {
    /// The encoder's own byte in its cards' numbers.
    prefix: u8,
    serial: u16,
    credential: Option<ScannedCredential>,
}

impl Card {
    fn blank(name: &str, serial: u16) -> Self {
        let prefix = name.bytes().fold(0, u8::wrapping_add);
        Self { prefix, serial, credential: None }
    }

    fn another(&self) -> Self {
        Self { prefix: self.prefix, serial: self.serial + 1, credential: None }
    }

    fn number(&self) -> String {
        format!("04{:02X}{:04X}", self.prefix, self.serial)
    }

    fn write(&mut self, work: &EncodeWork) -> Outcome {
        let now = u32::try_from(clock::wall().as_second()).unwrap();
        // As a daemon does: later than what the card carries.
        let issued_at = self.credential.as_ref().map_or(now, |before| now.max(before.issued_at + 1));
        let before = self.credential.replace(ScannedCredential {
            acs_credential_id: work.acs_credential_id,
            starts_at: work.starts_at,
            ends_at: work.ends_at,
            issued_at,
            doors: work.doors.clone(),
            flags: work.flags,
        });
        Outcome::Encoded(Encoded {
            card_number: self.number(),
            issued_at,
            overwritten: before.map(|old| old.acs_credential_id).filter(|old| *old != work.acs_credential_id),
            overwritten_number: None,
            simulated: true,
        })
    }

    fn read(&self) -> Outcome {
        let credential = self.credential.clone();
        Outcome::Scanned(Scanned { card_number: self.number(), credential, compact: None, simulated: true })
    }
}
