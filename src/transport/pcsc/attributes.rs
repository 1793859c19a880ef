//! What a reader's driver says of the reader itself.

use pcsc::{Attribute, Card, Context, Disposition, Protocols, Scope, ShareMode};
use std::ffi::CString;

/// Where a reader is on the USB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsbAddress {
    /// Number of the bus.
    pub bus: u8,
    /// Number of the device on the bus; another one after each plugging in.
    pub device: u8,
}

/// What a driver says of its reader; each of it only where the driver knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Where the reader is on the USB.
    pub usb: Option<UsbAddress>,
    /// The reader's serial number.
    pub serial: Option<String>,
    /// The driver's vendor name.
    pub vendor: Option<String>,
}

/// Asks a reader's driver. Blocks, for ever if another program is in a transaction there: call it on a thread that may
/// be left behind.
///
/// # Errors
/// The connection to the bare reader failed; a program that has the reader for itself makes it fail, too.
pub fn attributes(reader: &str) -> Result<Attributes, pcsc::Error> {
    let name = CString::new(reader).map_err(|_| pcsc::Error::UnknownReader)?;
    let context = Context::establish(Scope::System)?;
    let card = context.connect(&name, ShareMode::Direct, Protocols::UNDEFINED)?;
    let attributes = Attributes {
        usb: usb_address(&card),
        serial: text(&card, Attribute::VendorIfdSerialNo),
        vendor: text(&card, Attribute::VendorName),
    };
    leave(card);
    Ok(attributes)
}

/// Lets go of a card or a bare reader without resetting the card.
pub(super) fn leave(card: Card) {
    if let Err((_card, error)) = card.disconnect(Disposition::LeaveCard) {
        tracing::debug!(%error, "disconnecting from a reader failed");
    }
}

/// Where a connected reader is on the USB.
///
/// Source: PC/SC part 3, `SCARD_ATTR_CHANNEL_ID`: `0xDDDDCCCC`, with 0x0020 for USB in the high word and bus and device
/// number in the two bytes of the low one; libccid fills it so. Drivers write it in the byte order of the machine.
pub(super) fn usb_address(card: &Card) -> Option<UsbAddress> {
    let bytes = attribute(card, Attribute::ChannelId)?;
    let channel = u32::from_ne_bytes(*bytes.first_chunk()?);
    let [kind_high, kind_low, bus, device] = channel.to_be_bytes();
    ([kind_high, kind_low] == [0x00, 0x20]).then_some(UsbAddress { bus, device })
}

/// The connected card's ATR as its driver has it. `Ok(None)`: the driver does not say.
///
/// Not `SCardStatus`, which would ask for the same and disturb the monitor (see the module).
///
/// # Errors
/// The card has been reset or has left, or the reader is gone.
pub(super) fn atr(card: &Card) -> Result<Option<Vec<u8>>, pcsc::Error> {
    let mut buffer = [0; pcsc::MAX_ATR_SIZE];
    match card.get_attribute(Attribute::AtrString, &mut buffer) {
        Ok(atr) => Ok((!atr.is_empty()).then(|| atr.to_vec())),
        Err(pcsc::Error::UnsupportedFeature | pcsc::Error::NotTransacted | pcsc::Error::InsufficientBuffer) => Ok(None),
        Err(error) => Err(error),
    }
}

fn attribute(card: &Card, attribute: Attribute) -> Option<Vec<u8>> {
    // More than any of the attributes asked for here has.
    let mut buffer = [0; 256];
    card.get_attribute(attribute, &mut buffer).ok().map(<[u8]>::to_vec)
}

fn text(card: &Card, name: Attribute) -> Option<String> {
    let bytes = attribute(card, name)?;
    let text = String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next()?).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
