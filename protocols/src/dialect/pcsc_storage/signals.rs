//! What readers show and how they are asked for their firmware.

use super::profiles::{Feedback, FirmwareQuestion};
use crate::command::Signal;
use alloc::string::String;
use alloc::vec::Vec;

/// The bytes that make a reader show this.
///
/// Source: ACR122U API 2.04, section 6.2 (P2: bits 0, 1 final red, green; 2, 3 their masks; 4, 5 initial; 6, 7 blink; then
/// on and off time in 100 ms, repetitions, buzzer while on); ACR1281U-C1 API 1.08, 5.3.4 (buzzer in 10 ms).
pub(super) fn command(feedback: Feedback, signal: Signal) -> Vec<u8> {
    match (feedback, signal) {
        // Green blinks, stays as it was; one tone of 200 ms.
        (Feedback::LedAndBuzzer, Signal::Success) => [0xFF, 0x00, 0x40, 0xA0, 0x04, 0x02, 0x00, 0x01, 0x01].to_vec(),
        // Red blinks twice with two tones.
        (Feedback::LedAndBuzzer, Signal::Failure) => [0xFF, 0x00, 0x40, 0x50, 0x04, 0x02, 0x02, 0x02, 0x01].to_vec(),
        // Both blink in turns three times with three tones.
        (Feedback::LedAndBuzzer, Signal::Wink) => [0xFF, 0x00, 0x40, 0xD0, 0x04, 0x02, 0x02, 0x03, 0x01].to_vec(),
        (Feedback::Buzzer, Signal::Success) => buzz(20),
        // One command is one tone; a long one stands for two.
        (Feedback::Buzzer, Signal::Failure) => buzz(80),
        (Feedback::Buzzer, Signal::Wink) => buzz(50),
    }
}

fn buzz(hundredths: u8) -> Vec<u8> {
    [0xE0, 0x00, 0x00, 0x28, 0x01, hundredths].to_vec()
}

/// Whether the answer says that the reader did so.
pub(super) fn is_carried_out(feedback: Feedback, response: &[u8]) -> bool {
    match feedback {
        // The second byte is the state of the LEDs.
        Feedback::LedAndBuzzer => matches!(response, [0x90, _]),
        Feedback::Buzzer => matches!(response, [0xE1, 0x00, 0x00, 0x00, ..]),
    }
}

/// The bytes that ask for the firmware.
pub(super) fn firmware_question(question: FirmwareQuestion) -> Vec<u8> {
    match question {
        FirmwareQuestion::Acr122 => [0xFF, 0x00, 0x48, 0x00, 0x00].to_vec(),
        FirmwareQuestion::Peripheral => [0xE0, 0x00, 0x00, 0x18, 0x00].to_vec(),
    }
}

/// The firmware as the reader spells it; `None` where the answer is no text.
pub(super) fn firmware(question: FirmwareQuestion, response: &[u8]) -> Option<String> {
    let text = match question {
        // No status word, says the manual; should one follow all the same, it is no text.
        FirmwareQuestion::Acr122 => response.strip_suffix(&[0x90, 0x00]).unwrap_or(response),
        FirmwareQuestion::Peripheral => {
            let [0xE1, 0x00, 0x00, 0x00, len, text @ ..] = response else { return None };
            text.get(..usize::from(*len))?
        }
    };
    let is_text = (1..=32).contains(&text.len()) && text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    is_text.then(|| String::from_utf8_lossy(text).trim().into())
}
