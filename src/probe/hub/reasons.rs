//! Why a hop failed, from the words of the libraries that met it: their types are not ours to depend on.

/// What an error and its causes say, in small letters.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text.to_lowercase()
}

/// What is wrong with a certificate, and what mends it. Source: rustls 0.23, `CertificateError` and its words;
/// rustls-platform-verifier says the same of the system's verdict.
pub(super) fn certificate(words: &str) -> (&'static str, &'static str) {
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if has(&["notvalidforname", "not valid for name", "is not valid for"]) {
        return ("its certificate is for another name", "set the name that the certificate has as [cloud] url");
    }
    if has(&["notvalidyet", "not valid yet"]) {
        return ("its certificate is not valid yet, by this PC's clock", "sudo timedatectl set-ntp true");
    }
    if has(&["expired"]) {
        return (
            "its certificate has expired, or this PC's clock is ahead",
            "have the certificate renewed; the clock: timedatectl",
        );
    }
    if has(&[
        "unknownissuer",
        "unknown issuer",
        "self-signed",
        "self signed",
        "caused by other",
        "unable to get local issuer",
        "causedasendentity",
    ]) {
        return (
            "this PC trusts nobody who signed its certificate",
            "sudo cp HUB-CA.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates && sudo systemctl restart encoderd",
        );
    }
    if has(&["invalidcontenttype", "corrupt message", "wrong version"]) {
        return (
            "what answers there speaks no TLS",
            "set [cloud] url to http://…, if the hub is on this PC; else have it serve https",
        );
    }
    ("no TLS connection comes about", "openssl s_client -connect HOST:PORT shows what the hub says")
}

/// Whether an error is one of TLS at all.
pub(super) fn is_tls(words: &str) -> bool {
    ["certificate", "tls", "corrupt message", "invalidcontenttype", "handshake", "unknownissuer"]
        .iter()
        .any(|part| words.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_apart_by_their_words() {
        for (words, part) in [
            ("invalid peer certificate: unknownissuer", "trusts nobody"),
            ("invalid peer certificate: other(othererror(causedasendentity))", "trusts nobody"),
            ("invalid peer certificate: certificate not valid for name \"x\"", "another name"),
            ("invalid peer certificate: expired", "expired"),
            ("received corrupt message of type invalidcontenttype", "speaks no TLS"),
            ("something else", "no TLS connection"),
        ] {
            assert!(certificate(words).0.contains(part), "{words}: {:?}", certificate(words));
        }
    }
}
