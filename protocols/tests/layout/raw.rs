//! Somebody else's image on Type 2 cards: what is written, what is left, what is refused before the first byte.

use super::bench::Stop;
use super::pages::{PageBench, page};
use encoder_protocols::family::type2::{Password, Type2Kind, UltralightCKey};
use encoder_protocols::plan::{
    PageWrite, RawPagesError, RawPlan, RawStep, ReadPages, SafePoint, Type2Image, Unlock, raw_pages,
};
use encoder_protocols::secret::Secret;

fn write(number: u8, byte: u8) -> PageWrite {
    PageWrite { page: page(number), data: [byte; 4], volatile: false }
}

fn image(writes: &[PageWrite]) -> Type2Image {
    Type2Image { opening: None, writes: writes.to_vec() }
}

fn password() -> Unlock {
    Unlock::Password { password: Password::new(*b"lock"), pack: Secret::new(*b"OK") }
}

/// An NTAG213 that a vendor has closed from page 4 on with "lock" and "OK". Its data sheet, section 8.5.7: page 41 AUTH0 in
/// byte 3, page 42 ACCESS in byte 0 (80: reading too), 43 PWD, 44 PACK.
fn closed(access: u8) -> PageBench {
    let mut bench = PageBench::blank((Type2Kind::Ntag213, false));
    for (number, data) in [(41, [4, 0, 0, 4]), (42, [access, 0, 0, 0]), (43, *b"lock"), (44, *b"OK\0\0")] {
        bench.card().set_memory(page(number), data);
    }
    bench.new_session();
    bench
}

fn plan_with(bench: &mut PageBench, image: &Type2Image, others: Vec<Unlock>) -> Result<RawPlan, RawPagesError> {
    image.check(bench.kind)?;
    let mut machine = ReadPages::new(bench.kind, image, others);
    bench.examine(&mut machine);
    raw_pages(image, &machine.outcome()?)
}

fn plan(bench: &mut PageBench, image: &Type2Image) -> Result<RawPlan, RawPagesError> {
    plan_with(bench, image, Vec::new())
}

fn run(bench: &mut PageBench, plan: RawPlan, tear: Option<(usize, [u8; 4])>) -> Result<(), Stop> {
    let step = |step| match step {
        RawStep::Step(step) => step,
        RawStep::ReadBackTrailer { .. } => panic!("no step for pages"),
    };
    let steps: Vec<_> = plan.steps.into_iter().map(step).collect();
    bench.run(&steps, tear)
}

#[test]
fn what_differs_is_written_in_the_images_order_and_read_back_twice() {
    for kind in Type2Kind::ALL {
        let mut bench = PageBench::blank((kind, false));
        bench.card().set_memory(page(9), [9; 4]);
        let last = kind.last_user_page();
        let wanted = image(&[write(10, 1), write(9, 9), PageWrite { volatile: true, ..write(8, 2) }, write(last, 3)]);
        let made = plan(&mut bench, &wanted).unwrap();
        assert_eq!((made.writes(), made.unchanged.as_slice()), (3, [9].as_slice()), "{kind}");
        let listing = made.to_string();
        let at = |what: &str| listing.find(what).unwrap_or_else(|| panic!("{what} is missing in {listing}"));
        assert!(at("write page 10\n") < at("write page 8\n") && at("write page 8\n") < at("start a new session"));
        assert_eq!(listing.matches("read 2 pages from page 9 on back").count(), 2, "{listing}");
        assert_eq!(listing.matches(&format!("from page {last} on back")).count(), 2, "{listing}");
        run(&mut bench, made, None).unwrap();
        assert_eq!(bench.reached, Some(SafePoint::Verified));
        for (number, byte) in [(8, 2), (9, 9), (10, 1), (last, 3)] {
            assert_eq!(bench.memory(page(number)), [byte; 4], "{kind}: page {number}");
        }
        // The same again writes nothing, and a volatile page that a lock has changed is no failure.
        let again = plan(&mut bench, &wanted).unwrap();
        assert_eq!((again.writes(), again.unchanged.len()), (0, 4), "{kind}");
        bench.card().set_memory(page(8), [7; 4]);
        run(&mut bench, again.clone(), None).unwrap();
        bench.card().set_memory(page(10), [7; 4]);
        assert_eq!(run(&mut bench, again, None), Err(Stop::Mismatch), "{kind}");
    }
}

#[test]
fn a_small_card_is_looked_at_in_one_exchange_where_the_card_can() {
    for (kind, exchanges) in [
        (Type2Kind::Ntag213, 1),
        (Type2Kind::UltralightEv1Large, 1),
        (Type2Kind::Ultralight, 1),
        (Type2Kind::UltralightC, 2),
    ] {
        let mut bench = PageBench::blank((kind, false));
        plan(&mut bench, &image(&[write(4, 1), write(5, 2)])).unwrap();
        assert_eq!(bench.round_trips, exchanges, "{kind}");
    }
}

#[test]
fn a_torn_image_is_finished_by_the_same_image() {
    let mut bench = PageBench::blank((Type2Kind::Ntag213, false));
    let wanted = image(&[write(20, 1), write(21, 2), write(22, 3)]);
    let made = plan(&mut bench, &wanted).unwrap();
    assert_eq!(run(&mut bench, made, Some((1, [0xEE; 4]))), Err(Stop::Torn));
    let made = plan(&mut bench, &wanted).unwrap();
    assert_eq!((made.writes(), made.unchanged.as_slice()), (2, [20].as_slice()));
    run(&mut bench, made, None).unwrap();
    assert_eq!([20, 21, 22].map(|number| bench.memory(page(number))), [[1; 4], [2; 4], [3; 4]]);
}

#[test]
fn a_closed_card_is_opened_with_what_the_image_gives_and_only_where_it_is_closed() {
    for access in [0x00, 0x80] {
        let mut bench = closed(access);
        let before = bench.card().dump();
        let mut wanted = image(&[write(20, 1)]);
        assert_eq!(plan(&mut bench, &wanted).unwrap_err(), RawPagesError::Closed, "{access:02x}");
        wanted.opening = Some(Unlock::Password { password: Password::new(*b"lock"), pack: Secret::new(*b"no") });
        bench.new_session();
        assert_eq!(plan(&mut bench, &wanted).unwrap_err(), RawPagesError::Closed, "another PACK");
        assert_eq!(bench.card().dump(), before);
        wanted.opening = Some(password());
        bench.new_session();
        let made = plan(&mut bench, &wanted).unwrap();
        assert!(!format!("{made:?}{made}{wanted:?}").contains("108, 111"), "a password is printed");
        run(&mut bench, made, None).unwrap();
        assert_eq!(bench.memory(page(20)), [1; 4], "{access:02x}");
    }
    // Nothing is tried on a card that needs no opening.
    let mut open = PageBench::blank((Type2Kind::Ntag213, false));
    let made = plan(&mut open, &Type2Image { opening: Some(password()), ..image(&[write(20, 1)]) }).unwrap();
    assert!(!made.to_string().contains("open the card"), "{made}");
    run(&mut open, made, None).unwrap();
}

#[test]
fn an_ultralight_c_is_opened_with_its_key() {
    // MF0ICU2 data sheet, section 7.5.8: page 42 AUTH0, page 43 AUTH1 (bit 0: writing only), 44 to 47 the key.
    for auth1 in [0x00, 0x01] {
        let mut bench = PageBench::blank((Type2Kind::UltralightC, false));
        let key = UltralightCKey::new(*b"a vendor's key!!");
        for (number, data) in (44..).zip(key.to_pages()) {
            bench.card().set_memory(page(number), *data.expose());
        }
        bench.card().set_memory(page(42), [4, 0, 0, 0]);
        bench.card().set_memory(page(43), [auth1, 0, 0, 0]);
        bench.new_session();
        let mut wanted = image(&[write(20, 1)]);
        assert_eq!(plan(&mut bench, &wanted).unwrap_err(), RawPagesError::Closed);
        wanted.opening = Some(Unlock::UltralightC(key));
        bench.new_session();
        let made = plan(&mut bench, &wanted).unwrap();
        run(&mut bench, made, None).unwrap();
        assert_eq!(bench.memory(page(20)), [1; 4]);
    }
}

#[test]
fn what_this_desk_knows_is_tried_only_on_a_card_that_does_not_count() {
    let wanted = image(&[write(20, 1)]);
    let made = plan_with(&mut closed(0x00), &wanted, vec![password()]).unwrap();
    assert!(made.to_string().contains("open the card with its password"), "{made}");
    // AUTHLIM 7.
    let mut counting = closed(0x07);
    let other = Unlock::Password { password: Password::new([1; 4]), pack: Secret::new([1; 2]) };
    assert_eq!(plan_with(&mut counting, &wanted, vec![other]).unwrap_err(), RawPagesError::Closed);
    assert_eq!(counting.card().failures(), 0, "a wrong password was counted");
}

#[test]
fn pages_that_lock_bits_close_and_pages_that_are_not_the_users_are_refused() {
    // Static: page 2, bytes 2 and 3, a bit for each page. Dynamic, page 40 of an NTAG213: a bit for two pages from 16 on.
    for (locks, content, locked, free) in [
        (2, [0, 0, 0x10, 0x00], 4, 5),
        (2, [0, 0, 0x00, 0x80], 15, 14),
        (40, [0x02, 0, 0, 0xBD], 19, 20),
        (40, [0x00, 0x08, 0, 0xBD], 38, 37),
    ] {
        let mut bench = PageBench::blank((Type2Kind::Ntag213, false));
        let old = bench.memory(page(locks));
        bench
            .card()
            .set_memory(page(locks), if locks == 2 { [old[0], old[1], content[2], content[3]] } else { content });
        let error = plan(&mut bench, &image(&[write(free, 1), write(locked, 1)])).unwrap_err();
        assert_eq!(error, RawPagesError::Locked { page: page(locked) });
        let made = plan(&mut bench, &image(&[write(free, 1)])).unwrap();
        run(&mut bench, made, None).unwrap();
    }
    for kind in Type2Kind::ALL {
        for number in 0..4 {
            let error = image(&[write(number, 1)]).check(kind).unwrap_err();
            assert_eq!(error, RawPagesError::Manufacturers { page: page(number) });
        }
        for number in kind.last_user_page() + 1..kind.pages() {
            let error = image(&[write(number, 1)]).check(kind).unwrap_err();
            assert_eq!(error, RawPagesError::Configuration { page: page(number), kind });
        }
        let error = image(&[write(kind.pages(), 1)]).check(kind).unwrap_err();
        assert_eq!(error, RawPagesError::BeyondCard { page: page(kind.pages()), kind });
        let opening =
            if kind == Type2Kind::UltralightC { password() } else { Unlock::UltralightC(UltralightCKey::new([0; 16])) };
        let wanted = Type2Image { opening: Some(opening), ..image(&[write(4, 1)]) };
        assert_eq!(wanted.check(kind), Err(RawPagesError::OtherOpening { kind }));
    }
}
