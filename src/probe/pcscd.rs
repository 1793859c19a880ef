//! The PC/SC service: whether it is installed, runs, and is open to the user who needs it.

use super::pcsc::{Facts, Held, Installer, PcscSight, Reach, Starter};
use super::{Context, Finding, Verdict};
use crate::transport::pcsc::ServiceProblem;

const NAME: &str = "pcscd";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let is_off = context.config.as_ref().is_ok_and(|config| !config.discovery.pcsc);
    if is_off && context.port.is_none() {
        return vec![Finding::note(NAME, "[discovery] pcsc = false: readers behind PC/SC are left alone")];
    }
    context.pcsc.iter().map(judge).collect()
}

/// What is wrong with the service.
enum Problem {
    /// It does not answer.
    Silent,
    /// It cannot be used.
    Gone(ServiceProblem),
}

fn judge(facts: &Facts) -> Finding {
    let own = match &facts.answer {
        PcscSight::Silent => Some(Problem::Silent),
        PcscSight::Gone(why) => Some(Problem::Gone(*why)),
        PcscSight::Running(_) => None,
    };
    // Whether the daemon may use it is what counts; what is in the way is seen better from here.
    let daemons = facts.daemon.as_ref().map(|daemon| daemon.problem);
    match (daemons, own) {
        (Some(None), Some(Problem::Gone(ServiceProblem::SocketDenied | ServiceProblem::Denied))) => {
            Finding::note(NAME, "encoderd uses PC/SC; this user may not, so its readers are not looked at")
                .remedy("sudo encoderd probe")
        }
        (Some(Some(why @ (ServiceProblem::SocketDenied | ServiceProblem::Denied))), _) => {
            failed(facts, &Problem::Gone(why))
        }
        (_, Some(problem)) => failed(facts, &problem),
        (Some(Some(_)), None) => {
            Finding::note(NAME, "pcscd runs; encoderd has not reached it yet and tries again at once")
                .remedy("encoderd probe")
        }
        (Some(None) | None, None) => match facts.readers().len() {
            0 => Finding::note(NAME, "pcscd runs; there is no reader in PC/SC"),
            1 => Finding::fine(NAME, "pcscd runs, with one reader"),
            readers => Finding::fine(NAME, format!("pcscd runs, with {readers} readers")),
        },
    }
}

fn failed(facts: &Facts, problem: &Problem) -> Finding {
    match problem {
        Problem::Silent => silent(facts),
        Problem::Gone(ServiceProblem::NotInstalled | ServiceProblem::NotRunning) => {
            if facts.installation.is_installed {
                not_running(facts)
            } else {
                absent(facts, "pcscd is not installed: readers behind PC/SC need it", install(facts))
            }
        }
        Problem::Gone(ServiceProblem::SocketDenied) => socket_denied(facts),
        Problem::Gone(ServiceProblem::Denied) => denied(facts),
        Problem::Gone(why @ ServiceProblem::Other(_)) => Finding::failed(NAME, why.to_string()).remedy(restart(facts)),
    }
}

/// Nobody misses it where no encoder for it is plugged in.
fn absent(facts: &Facts, message: &str, remedy: String) -> Finding {
    let plugged_in: Vec<String> =
        facts.usb.iter().filter(|reader| reader.profile().is_some()).map(super::pcsc::UsbReader::about).collect();
    let message = match plugged_in.as_slice() {
        [] => message.to_owned(),
        readers => format!("{message}; plugged in: {}", readers.join(", ")),
    };
    let verdict = if facts.is_needed() { Verdict::Failed } else { Verdict::Note };
    Finding::new(NAME, verdict, message).remedy(remedy)
}

fn install(facts: &Facts) -> String {
    match facts.installation.installer {
        Installer::Apt => "sudo apt install pcscd".to_owned(),
        Installer::Dnf => "sudo dnf install pcsc-lite pcsc-lite-ccid".to_owned(),
        Installer::Other => "install pcsc-lite and its CCID driver".to_owned(),
    }
}

fn not_running(facts: &Facts) -> Finding {
    let socket = facts.socket.display();
    if facts.is_socket_named && facts.reach != Reach::Taken {
        let message = format!("no pcscd answers at {socket}, which PCSCLITE_CSOCK_NAME names");
        return absent(facts, &message, "unset PCSCLITE_CSOCK_NAME, or start the pcscd of this socket".to_owned());
    }
    match facts.reach {
        Reach::Missing { is_orphaned: false } => {
            absent(facts, &format!("pcscd is not running: there is no {socket}"), start(facts))
        }
        Reach::Missing { is_orphaned: true } => {
            let message = format!("pcscd cannot be reached: the file of its socket {socket} was deleted");
            absent(facts, &message, restart(facts))
        }
        Reach::Refused | Reach::Denied => {
            let message = format!("pcscd is not running: {socket} is left over and nobody is behind it");
            absent(facts, &message, restart(facts))
        }
        Reach::Taken => Finding::failed(NAME, "pcscd ends each connection at once: it fails at its start")
            .remedy(format!("{}; why it fails: {}", restart(facts), log(facts))),
    }
}

/// The command that starts pcscd, now and at each start of the machine.
fn start(facts: &Facts) -> String {
    match facts.installation.starter {
        Starter::Systemd => "sudo systemctl enable --now pcscd.socket".to_owned(),
        Starter::Masked => {
            "sudo systemctl unmask pcscd.socket pcscd.service && sudo systemctl enable --now pcscd.socket".to_owned()
        }
        Starter::Script => "sudo service pcscd start".to_owned(),
        Starter::Nobody => "sudo pcscd".to_owned(),
    }
}

/// The command that ends pcscd, if it runs, and starts it. systemd refuses to start the socket again below a running service.
pub(super) fn restart(facts: &Facts) -> String {
    match facts.installation.starter {
        Starter::Systemd => "sudo systemctl stop pcscd.service && sudo systemctl restart pcscd.socket".to_owned(),
        Starter::Masked => start(facts),
        Starter::Script => "sudo service pcscd restart".to_owned(),
        Starter::Nobody => "sudo killall --quiet pcscd; sudo pcscd".to_owned(),
    }
}

/// The command that shows what pcscd has to say.
pub(super) fn log(facts: &Facts) -> &'static str {
    match facts.installation.starter {
        Starter::Systemd | Starter::Masked => "sudo journalctl -u pcscd -n 30",
        Starter::Script | Starter::Nobody => "sudo killall --quiet pcscd; sudo pcscd --foreground --info",
    }
}

fn silent(facts: &Facts) -> Finding {
    let message = "pcscd takes connections and does not answer";
    let held = facts.usb.iter().any(|reader| match reader.held {
        Held::Kernel { .. } => true,
        Held::Free | Held::Program(_) => false,
    });
    if held {
        // Seen with an ACR122U that the kernel holds: pcscd waits for it, and all clients for pcscd.
        let message = format!("{message}: most likely it waits for a reader that the kernel holds");
        return Finding::failed(NAME, message)
            .remedy(format!("first what `kernel` says below, then: {}", restart(facts)));
    }
    Finding::failed(NAME, message).remedy(restart(facts))
}

fn socket_denied(facts: &Facts) -> Finding {
    let user = &facts.user;
    let Some(barrier) = &facts.barrier else {
        let message = format!("{user} may not connect to {}, although its mode allows it", facts.socket.display());
        return Finding::failed(NAME, format!("{message}: AppArmor or SELinux forbids it"))
            .remedy("sudo dmesg | grep -i denied");
    };
    let path = barrier.path.display();
    let message = if barrier.is_socket {
        format!("{user} may not connect to pcscd's socket {path}")
    } else {
        format!("{user} may not enter {path}, where pcscd's socket is")
    };
    let remedy = match &barrier.group {
        Some(group) => format!("sudo usermod -aG {group} {user}, then log in again or restart encoderd"),
        None if !barrier.is_socket => format!("sudo chmod o+x {path}"),
        None if facts.installation.starter == Starter::Systemd && !facts.is_socket_named => {
            // The mode comes from the unit, so a chmod would last until the next start.
            let file = "/etc/systemd/system/pcscd.socket.d/encoderd.conf";
            format!(
                "printf '[Socket]\\nSocketMode=0666\\n' | sudo install -D -m 644 /dev/stdin {file} && \
                 sudo systemctl daemon-reload && {}",
                restart(facts)
            )
        }
        None => format!("sudo chmod o+rw {path}"),
    };
    Finding::failed(NAME, message).remedy(remedy)
}

/// Since 1.9.0 pcsc-lite can ask polkit whether a client may come in, and distributions turn it on; its own policy lets in
/// who sits at the machine, not a service. Source: pcsc-lite 2.5.1, `auth.c`, `org.debian.pcsc-lite.policy`.
fn denied(facts: &Facts) -> Finding {
    let user = &facts.user;
    if user == "root" {
        // polkit refuses nothing to root: pcscd could not ask it.
        return Finding::failed(NAME, "pcscd refuses even root: it cannot ask polkit, which does not run")
            .remedy("sudo systemctl restart polkit");
    }
    if facts.installation.hides_processes {
        // Source: https://github.com/LudovicRousseau/PCSC/issues/224; hidepid=1 is not enough there either.
        return Finding::failed(NAME, format!("polkit refuses {user}: /proc hides processes (hidepid) from it"))
            .remedy("sudo mount -o remount,hidepid=0 /proc, and the same in /etc/fstab");
    }
    Finding::failed(NAME, format!("polkit refuses {user} the use of PC/SC")).remedy(polkit_rule(user))
}

/// Writes polkit's rule for this user; polkit reads it at once.
pub(super) fn polkit_rule(user: &str) -> String {
    let rule = format!(
        "polkit.addRule(function(action, subject) {{ \
         if ((action.id == \"org.debian.pcsc-lite.access_pcsc\" || action.id == \"org.debian.pcsc-lite.access_card\") \
         && subject.user == \"{user}\") {{ return polkit.Result.YES; }} }});"
    );
    format!("echo '{rule}' | sudo tee /etc/polkit-1/rules.d/50-encoderd.rules")
}

#[cfg(test)]
mod tests {
    use super::super::pcsc::DaemonSight;
    use super::super::pcsc::planted::{Machine, reader};
    use super::*;
    use crate::config::Config;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    const RESTART: &str = "sudo systemctl stop pcscd.service && sudo systemctl restart pcscd.socket";

    #[track_caller]
    fn expect(machine: &Machine, verdict: Verdict, words: &[&str], remedy: &str) {
        let found = machine.finding(look);
        assert_eq!(found.verdict, verdict, "{found:#?}");
        for word in words {
            assert!(found.message.contains(word), "{word}: {found:#?}");
        }
        assert_eq!(found.remedy.as_deref().unwrap_or_default(), remedy);
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_running_service_is_fine_with_readers_and_a_note_without() {
        let mut machine = Machine::new();
        expect(&machine, Verdict::Note, &["no reader"], "");
        machine.list(vec![reader("A 00 00")]);
        expect(&machine, Verdict::Fine, &["one reader"], "");
        machine.list(vec![reader("A 00 00"), reader("A 01 00")]);
        expect(&machine, Verdict::Fine, &["2 readers"], "");
    }

    #[test]
    fn pcscd_that_is_not_installed_fails_only_where_an_encoder_waits_for_it() {
        let mut machine = Machine::new();
        machine.delete("usr/sbin/pcscd");
        machine.gone(ServiceProblem::NotInstalled);
        machine.reach = Reach::Missing { is_orphaned: false };
        expect(&machine, Verdict::Note, &["not installed"], "sudo apt install pcscd");
        machine.plug_acr122u("1-1.2");
        let waits = ["not installed", "ACS ACR122U (072f:2200) at USB port 1-1.2"];
        expect(&machine, Verdict::Failed, &waits, "sudo apt install pcscd");
        machine.delete("usr/bin/apt-get");
        machine.put("usr/bin/dnf", "");
        expect(&machine, Verdict::Failed, &waits, "sudo dnf install pcsc-lite pcsc-lite-ccid");
    }

    #[test]
    fn a_reader_that_the_daemon_used_before_needs_pcscd_too() {
        let mut machine = Machine::new();
        machine.gone(ServiceProblem::NotRunning);
        machine.reach = Reach::Missing { is_orphaned: false };
        machine.daemon = Some(DaemonSight { problem: Some(ServiceProblem::NotRunning), knows_readers: true });
        expect(&machine, Verdict::Failed, &["not running"], "sudo systemctl enable --now pcscd.socket");
        machine.daemon = Some(DaemonSight { problem: Some(ServiceProblem::NotRunning), knows_readers: false });
        expect(&machine, Verdict::Note, &["not running"], "sudo systemctl enable --now pcscd.socket");
    }

    #[test]
    fn a_stopped_pcscd_is_started_as_this_machine_starts_services() {
        let mut machine = Machine::new();
        machine.gone(ServiceProblem::NotRunning);
        machine.reach = Reach::Missing { is_orphaned: false };
        let missing = ["not running", "there is no", "pcscd.comm"];
        expect(&machine, Verdict::Note, &missing, "sudo systemctl enable --now pcscd.socket");
        fs::create_dir_all(machine.path("etc/systemd/system")).unwrap();
        symlink("/dev/null", machine.path("etc/systemd/system/pcscd.socket")).unwrap();
        let unmask = "sudo systemctl unmask pcscd.socket pcscd.service && sudo systemctl enable --now pcscd.socket";
        expect(&machine, Verdict::Note, &missing, unmask);
        machine.delete("run/systemd");
        machine.put("etc/init.d/pcscd", "");
        expect(&machine, Verdict::Note, &missing, "sudo service pcscd start");
        machine.delete("etc/init.d/pcscd");
        expect(&machine, Verdict::Note, &missing, "sudo pcscd");
    }

    #[test]
    fn a_dead_socket_is_told_from_a_missing_one() {
        let mut machine = Machine::new();
        machine.gone(ServiceProblem::NotRunning);
        machine.reach = Reach::Missing { is_orphaned: true };
        expect(&machine, Verdict::Note, &["the file of its socket", "was deleted"], RESTART);
        machine.reach = Reach::Refused;
        expect(&machine, Verdict::Note, &["left over"], RESTART);
        machine.reach = Reach::Taken;
        let fails = format!("{RESTART}; why it fails: sudo journalctl -u pcscd -n 30");
        expect(&machine, Verdict::Failed, &["ends each connection"], &fails);
        machine.answer = PcscSight::Silent;
        expect(&machine, Verdict::Failed, &["does not answer"], RESTART);
        machine.reach = Reach::Refused;
        machine.gone(ServiceProblem::NotRunning);
        machine.is_socket_named = true;
        let unset = "unset PCSCLITE_CSOCK_NAME, or start the pcscd of this socket";
        expect(&machine, Verdict::Note, &["no pcscd answers at", "PCSCLITE_CSOCK_NAME"], unset);
    }

    #[test]
    fn a_silent_pcscd_waits_for_a_reader_that_the_kernel_holds() {
        let mut machine = Machine::new();
        machine.plug_acr122u("1-1");
        machine.bind("1-1", "pn533_usb");
        machine.answer = PcscSight::Silent;
        let remedy = format!("first what `kernel` says below, then: {RESTART}");
        expect(&machine, Verdict::Failed, &["does not answer", "the kernel holds"], &remedy);
    }

    #[test]
    fn what_keeps_a_user_from_the_socket_is_taken_away() {
        let mut machine = Machine::new();
        machine.gone(ServiceProblem::SocketDenied);
        machine.reach = Reach::Denied;
        for path in ["", "run", "run/pcscd"] {
            set_mode(&machine.path(path), 0o755);
        }
        let socket = machine.path("run/pcscd/pcscd.comm");
        set_mode(&socket, 0o600);
        let at_socket = format!("clerk may not connect to pcscd's socket {}", socket.display());
        let unit = format!(
            "printf '[Socket]\\nSocketMode=0666\\n' | sudo install -D -m 644 /dev/stdin \
             /etc/systemd/system/pcscd.socket.d/encoderd.conf && sudo systemctl daemon-reload && {RESTART}"
        );
        expect(&machine, Verdict::Failed, &[&at_socket], &unit);
        machine.delete("run/systemd");
        expect(&machine, Verdict::Failed, &[&at_socket], &format!("sudo chmod o+rw {}", socket.display()));
        let folder = machine.path("run/pcscd");
        set_mode(&folder, 0o700);
        let at_folder = format!("clerk may not enter {}", folder.display());
        expect(&machine, Verdict::Failed, &[&at_folder], &format!("sudo chmod o+x {}", folder.display()));
        set_mode(&folder, 0o755);
        set_mode(&socket, 0o666);
        expect(&machine, Verdict::Failed, &["AppArmor or SELinux"], "sudo dmesg | grep -i denied");
    }

    #[test]
    fn a_group_that_passes_is_joined() {
        let mut machine = Machine::new();
        machine.gone(ServiceProblem::SocketDenied);
        for path in ["", "run", "run/pcscd"] {
            set_mode(&machine.path(path), 0o755);
        }
        let socket = machine.path("run/pcscd/pcscd.comm");
        set_mode(&socket, 0o660);
        let _only_as_root = std::os::unix::fs::chown(&socket, None, Some(4242));
        let group = std::os::unix::fs::MetadataExt::gid(&fs::metadata(&socket).unwrap());
        machine.put("etc/group", &format!("scard:x:{group}:\n"));
        let join = "sudo usermod -aG scard clerk, then log in again or restart encoderd";
        expect(&machine, Verdict::Failed, &["clerk may not connect"], join);
    }

    #[test]
    fn polkit_gets_a_rule_for_the_user_and_both_actions() {
        let mut machine = Machine::new();
        machine.gone(ServiceProblem::Denied);
        // The actions' names: pcsc-lite 2.5.1, `org.debian.pcsc-lite.policy`; the rule's form: its `README.polkit`.
        let rule = "echo 'polkit.addRule(function(action, subject) { \
            if ((action.id == \"org.debian.pcsc-lite.access_pcsc\" || action.id == \"org.debian.pcsc-lite.access_card\") \
            && subject.user == \"clerk\") { return polkit.Result.YES; } });' \
            | sudo tee /etc/polkit-1/rules.d/50-encoderd.rules";
        expect(&machine, Verdict::Failed, &["polkit refuses clerk"], rule);
        machine.put("proc/mounts", "proc /proc proc rw,hidepid=1 0 0\n");
        let remount = "sudo mount -o remount,hidepid=0 /proc, and the same in /etc/fstab";
        expect(&machine, Verdict::Failed, &["hidepid"], remount);
        let user = rustix::process::geteuid().as_raw();
        machine.put("etc/passwd", &format!("root:x:{user}:0::/:/bin/sh\n"));
        expect(&machine, Verdict::Failed, &["even root"], "sudo systemctl restart polkit");
    }

    #[test]
    fn what_the_daemon_may_counts() {
        let mut machine = Machine::new();
        machine.list(vec![reader("A 00 00")]);
        machine.daemon = Some(DaemonSight { problem: Some(ServiceProblem::Denied), knows_readers: false });
        let found = machine.finding(look);
        assert_eq!((found.verdict, found.message.as_str()), (Verdict::Failed, "polkit refuses clerk the use of PC/SC"));
        machine.daemon = Some(DaemonSight { problem: Some(ServiceProblem::NotRunning), knows_readers: false });
        expect(&machine, Verdict::Note, &["tries again"], "encoderd probe");
        machine.daemon = Some(DaemonSight { problem: None, knows_readers: false });
        expect(&machine, Verdict::Fine, &["one reader"], "");
        machine.gone(ServiceProblem::Denied);
        expect(&machine, Verdict::Note, &["this user may not"], "sudo encoderd probe");
        machine.gone(ServiceProblem::Other(0x8010_0014));
        expect(&machine, Verdict::Failed, &["0x80100014"], RESTART);
    }

    #[test]
    fn nothing_is_looked_at_that_is_switched_off() {
        let config = Config::parse("[discovery]\npcsc = false", Path::new("encoderd.toml"));
        let context = Context::bare(config);
        let found = look(&context);
        assert_eq!(found.len(), 1);
        assert!(found[0].verdict == Verdict::Note && found[0].message.contains("pcsc = false"), "{found:?}");
    }
}
