/*
 * A driver for pcscd whose readers are on a virtual USB bus (wire.h), for tests.
 *
 * To pcscd it is what libccid is for a reader with an interrupt endpoint: the reader says by itself that a card came or
 * went, so clients hear of it within a millisecond or two. Where libccid has a habit that a client can notice, this has
 * it too, as read in the source of libccid 1.5.2; the function is named beside it.
 *
 * pcscd calls with one thread a reader at a time, under a lock of the reader, except for `wait_for_card`, which has a
 * thread of its own: what both touch is atomic. Different readers are used at the same time and share nothing.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <ifdhandler.h>
#include <reader.h>

#include "wire.h"

/* As many as pcscd can have: PCSCLITE_MAX_READERS_CONTEXTS. */
#define READERS_MAX 16

/* How long a reader may take for an answer: libccid's DEFAULT_COM_READ_TIMEOUT. */
#define ANSWER_MS 3000

/* libccid's control code for escape commands; every other code is one it does not know. */
#define IOCTL_SMARTCARD_VENDOR_IFD_EXCHANGE SCARD_CTL_CODE(1)

/* How long pcscd's thread sleeps after a failure: PCSCLITE_STATUS_POLL_RATE. */
#define GONE_MS 400

#define TEXT_BYTES 256

struct reader {
    bool open;
    unsigned bus, address;
    char serial[TEXT_BYTES], vendor[TEXT_BYTES]; /* empty: it has none */
    int command, events;
    int stop; /* an eventfd that ends `wait_for_card` */
    unsigned char atr[MAX_ATR_SIZE];
    size_t atr_bytes;
    atomic_bool card, gone;
};

static struct reader readers[READERS_MAX];

/* pcscd numbers its readers in the high half of the lun, and a reader's slots in the low half. */
static struct reader *reader_of(DWORD lun)
{
    struct reader *reader = lun >> 16 < READERS_MAX ? &readers[lun >> 16] : NULL;
    return reader && reader->open && (lun & 0xFFFF) == 0 ? reader : NULL;
}

/* Messages. */

static long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static bool send_message(int connection, const unsigned char *kind, const void *bytes, size_t count)
{
    size_t length = count + (kind ? 1 : 0);
    if (length > MESSAGE_BYTES_MAX)
        return false;
    unsigned char head[3] = {(unsigned char)(length >> 8), (unsigned char)length, kind ? *kind : 0};
    struct iovec parts[2] = {{head, kind ? 3 : 2}, {(void *)(uintptr_t)bytes, count}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    size_t left = parts[0].iov_len + count;
    while (left > 0) {
        ssize_t sent = sendmsg(connection, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        left -= (size_t)sent;
        for (size_t part = 0; part < 2; part++) {
            size_t taken = (size_t)sent < parts[part].iov_len ? (size_t)sent : parts[part].iov_len;
            parts[part].iov_base = (unsigned char *)parts[part].iov_base + taken;
            parts[part].iov_len -= taken;
            sent -= (ssize_t)taken;
        }
    }
    return true;
}

enum received { RECEIVED, LATE, HUNG_UP };

static enum received receive_bytes(int connection, unsigned char *bytes, size_t count, long deadline)
{
    while (count > 0) {
        struct pollfd readable = {.fd = connection, .events = POLLIN};
        long left = deadline - milliseconds();
        int ready = poll(&readable, 1, left > 0 ? (int)left : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return ready < 0 ? HUNG_UP : LATE;
        ssize_t got = recv(connection, bytes, count, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return HUNG_UP;
        bytes += got;
        count -= (size_t)got;
    }
    return RECEIVED;
}

/* `message` has room for MESSAGE_BYTES_MAX. */
static enum received receive_message(int connection, unsigned char *message, size_t *length)
{
    long deadline = milliseconds() + ANSWER_MS;
    unsigned char head[2];
    enum received received = receive_bytes(connection, head, sizeof head, deadline);
    if (received != RECEIVED)
        return received;
    *length = (size_t)head[0] << 8 | head[1];
    return receive_bytes(connection, message, *length, deadline);
}

/* The connection that opens with this hello, or -1. */
static int dial(const struct reader *reader, unsigned char hello)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *usb = getenv(VIRTUAL_USB);
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%03u-%03u.sock", usb ? usb : "", reader->bus,
                          reader->address);
    if (length < 0 || (size_t)length >= sizeof address.sun_path)
        return -1;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0)
        return -1;
    if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0
        || !send_message(connection, &hello, NULL, 0)) {
        close(connection);
        return -1;
    }
    return connection;
}

/*
 * One request and its answer, which is put into `answer` with its length.
 *
 * A reader that is late is given up for this time: a new connection, so that its answer is not taken for the next one.
 */
static RESPONSECODE ask(struct reader *reader, unsigned char request, const void *bytes, size_t count,
                        unsigned char *answer, size_t *length)
{
    if (atomic_load(&reader->gone))
        return IFD_NO_SUCH_DEVICE;
    if (!send_message(reader->command, &request, bytes, count)) {
        if (count >= MESSAGE_BYTES_MAX)
            return IFD_COMMUNICATION_ERROR;
        atomic_store(&reader->gone, true);
        return IFD_NO_SUCH_DEVICE;
    }
    switch (receive_message(reader->command, answer, length)) {
    case RECEIVED:
        return IFD_SUCCESS;
    case LATE:
        close(reader->command);
        reader->command = dial(reader, HELLO_COMMAND);
        if (reader->command >= 0)
            return IFD_COMMUNICATION_ERROR;
        break;
    case HUNG_UP:
        break;
    }
    atomic_store(&reader->gone, true);
    return IFD_NO_SUCH_DEVICE;
}

/* What sysfs tells of a device. */

static bool read_file(const char *device, const char *name, char text[TEXT_BYTES])
{
    char path[4096];
    text[0] = '\0';
    int length = snprintf(path, sizeof path, "%s/%s", device, name);
    FILE *file = length > 0 && (size_t)length < sizeof path ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    bool read = fgets(text, TEXT_BYTES, file) != NULL;
    text[strcspn(text, "\n")] = '\0';
    fclose(file);
    return read;
}

static void read_sysfs(struct reader *reader)
{
    char devices[2048], device[4096], text[TEXT_BYTES];
    const char *usb = getenv(VIRTUAL_USB);
    int length = snprintf(devices, sizeof devices, "%s" DEVICES, usb ? usb : "");
    DIR *all = length > 0 && (size_t)length < sizeof devices ? opendir(devices) : NULL;
    if (!all)
        return;
    for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(device, sizeof device, "%s/%s", devices, entry->d_name);
        if (!read_file(device, "busnum", text) || strtoul(text, NULL, 10) != reader->bus)
            continue;
        if (!read_file(device, "devnum", text) || strtoul(text, NULL, 10) != reader->address)
            continue;
        read_file(device, "serial", reader->serial);
        if (!read_file(device, "vendor", reader->vendor))
            read_file(device, "manufacturer", reader->vendor);
        break;
    }
    closedir(all);
}

/* What pcscd calls. */

/* The next change as the reader tells it; `gone` when it tells nothing any more. */
static bool next_change(struct reader *reader)
{
    unsigned char *message = malloc(MESSAGE_BYTES_MAX);
    size_t length = 0;
    bool good = message && receive_message(reader->events, message, &length) == RECEIVED && length == 1;
    if (good)
        atomic_store(&reader->card, message[0] == PRESENCE_PRESENT);
    else
        atomic_store(&reader->gone, true);
    free(message);
    return good;
}

static void close_reader(struct reader *reader)
{
    if (reader->command >= 0)
        close(reader->command);
    if (reader->events >= 0)
        close(reader->events);
    if (reader->stop >= 0)
        close(reader->stop);
    reader->open = false;
}

/* `name` is `usb:072f/2200:libudev:0:/dev/bus/usb/001/004`, as pcscd's hotplug_libudev.c makes it. */
RESPONSECODE IFDHCreateChannelByName(DWORD lun, LPSTR name)
{
    if (lun >> 16 >= READERS_MAX || (lun & 0xFFFF) != 0)
        return IFD_COMMUNICATION_ERROR;
    struct reader *reader = &readers[lun >> 16];
    memset(reader, 0, sizeof *reader);
    const char *node = strstr(name, "/dev/bus/usb/");
    if (!node || sscanf(node, "/dev/bus/usb/%3u/%3u", &reader->bus, &reader->address) != 2)
        return IFD_COMMUNICATION_ERROR;
    reader->open = true;
    reader->command = dial(reader, HELLO_COMMAND);
    reader->events = dial(reader, HELLO_EVENTS);
    reader->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reader->command < 0 || reader->events < 0 || reader->stop < 0 || !next_change(reader)) {
        close_reader(reader);
        return IFD_NO_SUCH_DEVICE;
    }
    read_sysfs(reader);
    return IFD_SUCCESS;
}

/* For readers in reader.conf, which have a number instead of a name: there are none on a bus. */
RESPONSECODE IFDHCreateChannel(DWORD lun, DWORD channel)
{
    (void)lun;
    (void)channel;
    return IFD_COMMUNICATION_ERROR;
}

RESPONSECODE IFDHCloseChannel(DWORD lun)
{
    struct reader *reader = reader_of(lun);
    if (!reader)
        return IFD_COMMUNICATION_ERROR;
    close_reader(reader);
    return IFD_SUCCESS;
}

/*
 * Waits until the reader tells of a change, `stop_waiting` is called, or the time is over.
 *
 * One change at a call, so that pcscd sees a card that left and came again as both. When the reader is gone, libccid fails
 * (InterruptRead), pcscd's thread sleeps for 400 ms, ends if the kernel has told of the unplugging by then, and else finds
 * that there is no card. Here the thread sleeps as long and can be woken, which saves tests that time. Telling pcscd at
 * once that the card left would be wrong: a card that leaves while its reader is being removed may undo pcscd's mark that
 * the thread is to end (1.9.9: RFSetReaderEventState and EHDestroyEventHandler share `hLockId`), and hotplug hangs for ever.
 */
static RESPONSECODE wait_for_card(DWORD lun, int timeout_ms)
{
    struct reader *reader = reader_of(lun);
    if (!reader)
        return IFD_COMMUNICATION_ERROR;
    struct pollfd both[2] = {{.fd = reader->stop, .events = POLLIN}, {.fd = reader->events, .events = POLLIN}};
    if (!atomic_load(&reader->gone)) {
        poll(both, 2, timeout_ms); /* a signal ends it early, which is no harm */
        if (both[1].revents)
            next_change(reader);
    }
    if (atomic_load(&reader->gone))
        poll(both, 1, GONE_MS);
    uint64_t count;
    if ((both[0].revents & POLLIN) && read(reader->stop, &count, sizeof count) < 0)
        return IFD_COMMUNICATION_ERROR;
    return IFD_SUCCESS;
}

static RESPONSECODE stop_waiting(DWORD lun)
{
    struct reader *reader = reader_of(lun);
    uint64_t once = 1;
    if (!reader || write(reader->stop, &once, sizeof once) < 0)
        return IFD_COMMUNICATION_ERROR;
    return IFD_SUCCESS;
}

/* A reader that is gone has no card (libccid, IFDHICCPresence). */
RESPONSECODE IFDHICCPresence(DWORD lun)
{
    struct reader *reader = reader_of(lun);
    if (!reader)
        return IFD_COMMUNICATION_ERROR;
    if (atomic_load(&reader->gone) || !atomic_load(&reader->card)) {
        reader->atr_bytes = 0;
        return IFD_ICC_NOT_PRESENT;
    }
    return IFD_ICC_PRESENT;
}

static RESPONSECODE give(PUCHAR value, PDWORD length, const void *bytes, size_t count)
{
    if (*length < count)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    memcpy(value, bytes, count);
    *length = count;
    return IFD_SUCCESS;
}

/* With its final 0. What the device has not is told as success with length 0 (libccid, IFDHGetCapabilities). */
static RESPONSECODE give_text(PUCHAR value, PDWORD length, const char *text)
{
    return give(value, length, text, text[0] ? strlen(text) + 1 : 0);
}

static RESPONSECODE give_byte(PUCHAR value, PDWORD length, unsigned char byte)
{
    return give(value, length, &byte, 1);
}

RESPONSECODE IFDHGetCapabilities(DWORD lun, DWORD tag, PDWORD length, PUCHAR value)
{
    struct reader *reader = reader_of(lun);
    if (!reader)
        return IFD_COMMUNICATION_ERROR;
    switch (tag) {
    case TAG_IFD_ATR:
    case SCARD_ATTR_ATR_STRING:
        return give(value, length, reader->atr, reader->atr_bytes);
    case SCARD_ATTR_ICC_INTERFACE_STATUS:
        return give_byte(value, length, IFDHICCPresence(lun) == IFD_ICC_PRESENT ? 1 : 0);
    case SCARD_ATTR_ICC_PRESENCE:
        return give_byte(value, length, IFDHICCPresence(lun) == IFD_ICC_PRESENT ? 2 : 0);
    case TAG_IFD_SIMULTANEOUS_ACCESS:
        return give_byte(value, length, READERS_MAX);
    case TAG_IFD_THREAD_SAFE:
    case TAG_IFD_SLOTS_NUMBER:
        return give_byte(value, length, 1);
    case TAG_IFD_SLOT_THREAD_SAFE:
        return give_byte(value, length, 0);
    case TAG_IFD_POLLING_THREAD_WITH_TIMEOUT: {
        RESPONSECODE (*wait)(DWORD, int) = wait_for_card;
        return give(value, length, &wait, sizeof wait);
    }
    case TAG_IFD_POLLING_THREAD_KILLABLE: /* no: it is asked to stop */
        *length = 0;
        return IFD_SUCCESS;
    case TAG_IFD_STOP_POLLING_THREAD: {
        RESPONSECODE (*stop)(DWORD) = stop_waiting;
        return give(value, length, &stop, sizeof stop);
    }
    case SCARD_ATTR_VENDOR_NAME:
        return give_text(value, length, reader->vendor);
    case SCARD_ATTR_VENDOR_IFD_SERIAL_NO:
        return give_text(value, length, reader->serial);
    case SCARD_ATTR_CHANNEL_ID: {
        uint32_t channel = (uint32_t)0x0020 << 16 | reader->bus << 8 | reader->address; /* 0x0020: USB */
        return give(value, length, &channel, sizeof channel);
    }
    default:
        return IFD_ERROR_TAG;
    }
}

RESPONSECODE IFDHSetCapabilities(DWORD lun, DWORD tag, DWORD length, PUCHAR value)
{
    (void)tag;
    (void)length;
    (void)value;
    return reader_of(lun) ? IFD_NOT_SUPPORTED : IFD_COMMUNICATION_ERROR;
}

/* A contactless card has nothing to negotiate. */
RESPONSECODE IFDHSetProtocolParameters(DWORD lun, DWORD protocol, UCHAR flags, UCHAR pts1, UCHAR pts2, UCHAR pts3)
{
    (void)flags;
    (void)pts1;
    (void)pts2;
    (void)pts3;
    if (!reader_of(lun))
        return IFD_COMMUNICATION_ERROR;
    return protocol == SCARD_PROTOCOL_T0 || protocol == SCARD_PROTOCOL_T1 ? IFD_SUCCESS : IFD_PROTOCOL_NOT_SUPPORTED;
}

RESPONSECODE IFDHPowerICC(DWORD lun, DWORD action, PUCHAR atr, PDWORD atr_bytes)
{
    struct reader *reader = reader_of(lun);
    *atr_bytes = 0;
    if (!reader)
        return IFD_COMMUNICATION_ERROR;
    unsigned char request;
    switch (action) {
    case IFD_POWER_UP:
        request = REQUEST_POWER_ON;
        break;
    case IFD_RESET:
        request = REQUEST_RESET;
        break;
    case IFD_POWER_DOWN:
        request = REQUEST_POWER_OFF;
        break;
    default:
        return IFD_NOT_SUPPORTED;
    }
    reader->atr_bytes = 0;
    unsigned char *answer = malloc(MESSAGE_BYTES_MAX);
    size_t length = 0;
    RESPONSECODE code = answer ? ask(reader, request, NULL, 0, answer, &length) : IFD_COMMUNICATION_ERROR;
    if (request == REQUEST_POWER_OFF) {
        /* The device is gone, or did it. */
    } else if (code != IFD_SUCCESS || length == 0 || length > MAX_ATR_SIZE) {
        code = IFD_ERROR_POWER_ACTION; /* whatever it was (libccid, IFDHPowerICC) */
    } else {
        memcpy(reader->atr, answer, length);
        memcpy(atr, answer, length);
        *atr_bytes = reader->atr_bytes = length;
    }
    free(answer);
    return code;
}

/* An answer of no bytes is passed on, unless it is because there is no card: then that is said (libccid, CCID_Receive). */
RESPONSECODE IFDHTransmitToICC(DWORD lun, SCARD_IO_HEADER send, PUCHAR apdu, DWORD apdu_bytes, PUCHAR response,
                               PDWORD response_bytes, PSCARD_IO_HEADER receive)
{
    (void)send;
    (void)receive;
    struct reader *reader = reader_of(lun);
    DWORD room = *response_bytes;
    *response_bytes = 0;
    unsigned char *answer = reader ? malloc(MESSAGE_BYTES_MAX) : NULL;
    if (!answer)
        return IFD_COMMUNICATION_ERROR;
    size_t length = 0;
    RESPONSECODE code = ask(reader, REQUEST_APDU, apdu, apdu_bytes, answer, &length);
    if (code == IFD_SUCCESS && length == 0) {
        size_t one = 0;
        code = ask(reader, REQUEST_PRESENCE, NULL, 0, answer, &one);
        if (code == IFD_SUCCESS && one == 1 && answer[0] == PRESENCE_ABSENT)
            code = IFD_ICC_NOT_PRESENT;
    } else if (code == IFD_SUCCESS && length > room) {
        code = IFD_COMMUNICATION_ERROR;
    } else if (code == IFD_SUCCESS) {
        memcpy(response, answer, length);
        *response_bytes = length;
    }
    free(answer);
    return code;
}

/* Escape commands go to the reader. A reader that refuses them answers as libccid does when it is not told to pass them. */
RESPONSECODE IFDHControl(DWORD lun, DWORD code, PUCHAR sent, DWORD sent_bytes, PUCHAR received, DWORD room,
                         LPDWORD received_bytes)
{
    struct reader *reader = reader_of(lun);
    *received_bytes = 0;
    if (!reader)
        return IFD_COMMUNICATION_ERROR;
    if (code != IOCTL_SMARTCARD_VENDOR_IFD_EXCHANGE)
        return IFD_ERROR_NOT_SUPPORTED;
    unsigned char *answer = malloc(MESSAGE_BYTES_MAX);
    size_t length = 0;
    RESPONSECODE result =
        answer ? ask(reader, REQUEST_ESCAPE, sent, sent_bytes, answer, &length) : IFD_COMMUNICATION_ERROR;
    if (result == IFD_SUCCESS && (length == 0 || answer[0] != ESCAPE_DONE)) {
        result = IFD_COMMUNICATION_ERROR;
    } else if (result == IFD_SUCCESS && length - 1 > room) {
        result = IFD_ERROR_INSUFFICIENT_BUFFER;
    } else if (result == IFD_SUCCESS) {
        memcpy(received, answer + 1, length - 1);
        *received_bytes = length - 1;
    }
    free(answer);
    return result;
}
