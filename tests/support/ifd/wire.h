/*
 * The virtual USB bus: a directory that stands for what a machine with USB readers has, named by the environment
 * variable VIRTUAL_USB.
 *
 *   sys/bus/usb/devices/1-1.2/   a plugged-in device and what the kernel would tell of it, a file each:
 *                                busnum, devnum, idVendor, idProduct; if the device has them product, manufacturer,
 *                                serial, bInterfaceName (the name of its interface); vendor (what the driver calls
 *                                its vendor, if that is not the manufacturer)
 *   001-004.sock                 the device itself: bus number and device number
 *   drivers/, run/               what pcscd finds in place of its directory of drivers and its own in /run
 *
 * A device is plugged in by renaming its folder into place and unplugged by removing it.
 *
 * On the socket a message is its length, 16 bits with the high byte first, and so many bytes. The driver makes two
 * connections. On the command connection it sends HELLO_COMMAND, and then requests whose first byte says what is asked,
 * each with one answer. On the event connection it sends HELLO_EVENTS and is told at once and at each change whether a
 * card is there: PRESENCE_ABSENT or PRESENCE_PRESENT.
 */
#ifndef WIRE_H
#define WIRE_H

#define VIRTUAL_USB "VIRTUAL_USB"
#define DEVICES "/sys/bus/usb/devices"

enum hello { HELLO_COMMAND = 'C', HELLO_EVENTS = 'E' };

enum request {
    REQUEST_POWER_OFF = 0x00, /* answered with an empty message */
    REQUEST_POWER_ON = 0x01,  /* the ATR; empty when there is no card or the card is mute */
    REQUEST_RESET = 0x02,     /* likewise */
    REQUEST_APDU = 0x03,      /* the response; empty when the card left or gave nothing */
    REQUEST_ESCAPE = 0x04,    /* ESCAPE_DONE and the response, or ESCAPE_REFUSED */
    REQUEST_PRESENCE = 0x05,  /* PRESENCE_ABSENT or PRESENCE_PRESENT */
};

enum escape { ESCAPE_DONE = 0x00, ESCAPE_REFUSED = 0x01 };

enum presence { PRESENCE_ABSENT = 0x00, PRESENCE_PRESENT = 0x01 };

#define MESSAGE_BYTES_MAX 0xFFFF

#endif
