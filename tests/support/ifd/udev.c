/*
 * A stand-in for libudev that knows the virtual USB bus (wire.h) and nothing else, for tests: preloaded into a private
 * pcscd, so that readers are found, plugged in and unplugged by pcscd's own hotplug code (its hotplug_libudev.c).
 *
 * It has the functions that pcscd calls, as libudev's manual pages have them. Each device of the bus has one interface,
 * number 0. Nothing of the machine's real USB is seen, so a test never takes a reader that is plugged into it.
 *
 * pcscd's directory of drivers and the folder of its pid file are compiled in. What it opens there is looked for in the
 * bus's `drivers` and `run`.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "wire.h"

#define NAME_BYTES 64
#define PATH_BYTES 4096

/* What libudev names in its header; nobody else looks into them. */
struct udev {
    int unused;
};

struct udev_list_entry {
    struct udev_list_entry *next;
    char name[];
};

/* A device of the bus (`1-1.2`), or its interface (`1-1.2:1.0`). */
struct udev_device {
    char port[NAME_BYTES], sysname[NAME_BYTES + 8], devnode[NAME_BYTES];
    const char *action;
    struct udev_device *parent;     /* an interface's device */
    struct udev_list_entry *values; /* what was handed out, kept until the device is let go */
};

struct udev_enumerate {
    struct udev_list_entry *found;
};

struct udev_monitor {
    int inotify;
};

static const char *bus(void)
{
    const char *directory = getenv(VIRTUAL_USB);
    return directory ? directory : "";
}

/* Bus and port numbers: `1-1.2`. Names with which a folder is made or removed look otherwise. */
static bool is_port(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || name[digits] != '-' || strlen(name) >= NAME_BYTES)
        return false;
    const char *ports = name + digits + 1;
    return isdigit((unsigned char)*ports) && strspn(ports, "0123456789.") == strlen(ports);
}

static struct udev_list_entry *push(struct udev_list_entry **list, const char *text)
{
    size_t length = strlen(text) + 1;
    struct udev_list_entry *entry = malloc(sizeof *entry + length);
    if (!entry)
        return NULL;
    memcpy(entry->name, text, length);
    entry->next = *list;
    *list = entry;
    return entry;
}

static void free_list(struct udev_list_entry *list)
{
    while (list) {
        struct udev_list_entry *next = list->next;
        free(list);
        list = next;
    }
}

/* libudev's functions. */

struct udev *udev_new(void);
struct udev *udev_unref(struct udev *udev);
struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry);
const char *udev_list_entry_get_name(struct udev_list_entry *entry);
struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *syspath);
struct udev_device *udev_device_unref(struct udev_device *device);
const char *udev_device_get_action(struct udev_device *device);
const char *udev_device_get_devnode(struct udev_device *device);
const char *udev_device_get_sysname(struct udev_device *device);
const char *udev_device_get_sysattr_value(struct udev_device *device, const char *name);
const char *udev_device_get_property_value(struct udev_device *device, const char *name);
struct udev_device *udev_device_get_parent_with_subsystem_devtype(struct udev_device *device, const char *subsystem,
                                                                  const char *devtype);
struct udev_enumerate *udev_enumerate_new(struct udev *udev);
struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *enumerate);
int udev_enumerate_add_match_subsystem(struct udev_enumerate *enumerate, const char *subsystem);
int udev_enumerate_scan_devices(struct udev_enumerate *enumerate);
struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *enumerate);
struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name);
struct udev_monitor *udev_monitor_unref(struct udev_monitor *monitor);
int udev_monitor_filter_add_match_subsystem_devtype(struct udev_monitor *monitor, const char *subsystem,
                                                    const char *devtype);
int udev_monitor_enable_receiving(struct udev_monitor *monitor);
int udev_monitor_get_fd(struct udev_monitor *monitor);
struct udev_device *udev_monitor_receive_device(struct udev_monitor *monitor);

struct udev *udev_new(void)
{
    static struct udev the_only_one;
    return &the_only_one;
}

struct udev *udev_unref(struct udev *udev)
{
    (void)udev;
    return NULL;
}

struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry)
{
    return entry ? entry->next : NULL;
}

const char *udev_list_entry_get_name(struct udev_list_entry *entry)
{
    return entry ? entry->name : NULL;
}

/* The interface of the device at this port, with the device as its parent. */
static struct udev_device *interface_at(const char *port, const char *action)
{
    struct udev_device *interface = calloc(1, sizeof *interface), *device = calloc(1, sizeof *device);
    if (!interface || !device) {
        free(interface);
        free(device);
        return NULL;
    }
    snprintf(device->port, NAME_BYTES, "%s", port);
    snprintf(device->sysname, sizeof device->sysname, "%s", port);
    snprintf(interface->port, NAME_BYTES, "%s", port);
    snprintf(interface->sysname, sizeof interface->sysname, "%s:1.0", device->port);
    interface->action = action;
    interface->parent = device;
    return interface;
}

/* The path is the device's folder; what is given is its interface, which has no folder of its own. */
struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *syspath)
{
    (void)udev;
    const char *name = strrchr(syspath, '/');
    return name && is_port(name + 1) ? interface_at(name + 1, NULL) : NULL;
}

struct udev_device *udev_device_unref(struct udev_device *device)
{
    if (device) {
        udev_device_unref(device->parent);
        free_list(device->values);
        free(device);
    }
    return NULL;
}

const char *udev_device_get_action(struct udev_device *device)
{
    return device->action;
}

const char *udev_device_get_sysname(struct udev_device *device)
{
    return device->sysname;
}

struct udev_device *udev_device_get_parent_with_subsystem_devtype(struct udev_device *device, const char *subsystem,
                                                                  const char *devtype)
{
    bool usb_device = strcmp(subsystem, "usb") == 0 && devtype && strcmp(devtype, "usb_device") == 0;
    return device && usb_device ? device->parent : NULL;
}

/* The first line of a file of the device's folder. */
static const char *read_value(struct udev_device *device, const char *file)
{
    char path[PATH_BYTES], text[256];
    int length = snprintf(path, sizeof path, "%s" DEVICES "/%s/%s", bus(), device->port, file);
    FILE *opened = length > 0 && (size_t)length < sizeof path ? fopen(path, "re") : NULL;
    if (!opened)
        return NULL;
    bool read = fgets(text, sizeof text, opened) != NULL;
    fclose(opened);
    if (!read)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    struct udev_list_entry *kept = push(&device->values, text);
    return kept ? kept->name : NULL;
}

const char *udev_device_get_sysattr_value(struct udev_device *device, const char *name)
{
    if (!device->parent)
        return read_value(device, name);
    if (strcmp(name, "bInterfaceNumber") == 0)
        return "00";
    return strcmp(name, "interface") == 0 ? read_value(device, "bInterfaceName") : NULL;
}

/* Properties come from udev's rules, and here are none. */
const char *udev_device_get_property_value(struct udev_device *device, const char *name)
{
    (void)device;
    (void)name;
    return NULL;
}

const char *udev_device_get_devnode(struct udev_device *device)
{
    const char *busnum = read_value(device, "busnum"), *devnum = read_value(device, "devnum");
    if (device->parent || !busnum || !devnum)
        return NULL;
    snprintf(device->devnode, NAME_BYTES, "/dev/bus/usb/%03lu/%03lu", strtoul(busnum, NULL, 10),
             strtoul(devnum, NULL, 10));
    return device->devnode;
}

struct udev_enumerate *udev_enumerate_new(struct udev *udev)
{
    (void)udev;
    return calloc(1, sizeof(struct udev_enumerate));
}

struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *enumerate)
{
    if (enumerate)
        free_list(enumerate->found);
    free(enumerate);
    return NULL;
}

int udev_enumerate_add_match_subsystem(struct udev_enumerate *enumerate, const char *subsystem)
{
    (void)enumerate;
    return strcmp(subsystem, "usb") == 0 ? 0 : -EINVAL;
}

int udev_enumerate_scan_devices(struct udev_enumerate *enumerate)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s" DEVICES, bus());
    DIR *all = opendir(path);
    if (!all)
        return -errno;
    for (struct dirent *entry; (entry = readdir(all)) != NULL;)
        if (is_port(entry->d_name)) {
            snprintf(path, sizeof path, "%s" DEVICES "/%s", bus(), entry->d_name);
            push(&enumerate->found, path);
        }
    closedir(all);
    return 0;
}

struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *enumerate)
{
    return enumerate->found;
}

struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name)
{
    (void)udev;
    (void)name;
    struct udev_monitor *monitor = malloc(sizeof *monitor);
    if (monitor)
        monitor->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    return monitor;
}

struct udev_monitor *udev_monitor_unref(struct udev_monitor *monitor)
{
    if (monitor)
        close(monitor->inotify);
    free(monitor);
    return NULL;
}

int udev_monitor_filter_add_match_subsystem_devtype(struct udev_monitor *monitor, const char *subsystem,
                                                    const char *devtype)
{
    (void)monitor;
    return strcmp(subsystem, "usb") == 0 && strcmp(devtype, "usb_interface") == 0 ? 0 : -EINVAL;
}

int udev_monitor_enable_receiving(struct udev_monitor *monitor)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s" DEVICES, bus());
    int watch = inotify_add_watch(monitor->inotify, path, IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR);
    return watch < 0 ? -errno : 0;
}

int udev_monitor_get_fd(struct udev_monitor *monitor)
{
    return monitor->inotify;
}

/*
 * One event, if it is one of a device. pcscd calls once each time that the descriptor is readable, so no more may be read:
 * a buffer that is too small for the first event is refused, and one that it just fills has no room for the next.
 */
struct udev_device *udev_monitor_receive_device(struct udev_monitor *monitor)
{
    union {
        struct inotify_event event;
        char bytes[sizeof(struct inotify_event) + 256];
    } buffer;
    ssize_t got = -1;
    for (size_t size = sizeof buffer.event; size <= sizeof buffer; size += sizeof buffer.event) {
        got = read(monitor->inotify, &buffer, size);
        if (got >= 0 || errno != EINVAL)
            break;
    }
    if (got < (ssize_t)sizeof buffer.event || buffer.event.len == 0 || !is_port(buffer.event.name))
        return NULL;
    return interface_at(buffer.event.name, buffer.event.mask & IN_MOVED_TO ? "add" : "remove");
}

/*
 * Paths that are compiled in. The directory of drivers is /usr/lib/pcsc/drivers on Debian and below another /usr/lib…
 * elsewhere. The folder for the pid file is the system's pcscd's own, whose file must not be written or removed.
 */

static const char *redirected(const char *path, char new_path[PATH_BYTES])
{
    static const char DRIVERS[] = "/pcsc/drivers", RUN[] = "/run/pcscd/";
    const char *drivers = path && strncmp(path, "/usr/", 5) == 0 ? strstr(path, DRIVERS) : NULL;
    const char *run = path ? strstr(path, RUN) : NULL;
    int length = -1;
    if (drivers)
        length = snprintf(new_path, PATH_BYTES, "%s/drivers%s", bus(), drivers + strlen(DRIVERS));
    else if (run == path || (run && strncmp(path, "/var", 4) == 0 && run == path + 4))
        length = snprintf(new_path, PATH_BYTES, "%s/run/%s", bus(), run + strlen(RUN));
    return length > 0 && length < PATH_BYTES ? new_path : path;
}

/* ISO C has no cast from an object pointer to a function pointer; POSIX promises that the bytes are the same. */
#define NEXT(function, name)                                                                                           \
    do {                                                                                                               \
        void *found = dlsym(RTLD_NEXT, name);                                                                          \
        if (!found)                                                                                                    \
            abort();                                                                                                   \
        memcpy(&(function), &found, sizeof(function));                                                                 \
    } while (0)

DIR *opendir(const char *path)
{
    DIR *(*next)(const char *);
    char new_path[PATH_BYTES];
    NEXT(next, "opendir");
    return next(redirected(path, new_path));
}

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*next)(const char *, const char *);
    char new_path[PATH_BYTES];
    NEXT(next, "fopen");
    return next(redirected(path, new_path), mode);
}

int open(const char *path, int flags, ...)
{
    int (*next)(const char *, int, ...);
    char new_path[PATH_BYTES];
    mode_t mode = 0;
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    NEXT(next, "open");
    return next(redirected(path, new_path), flags, mode);
}

int remove(const char *path)
{
    int (*next)(const char *);
    char new_path[PATH_BYTES];
    NEXT(next, "remove");
    return next(redirected(path, new_path));
}

void *dlopen(const char *path, int flags)
{
    void *(*next)(const char *, int);
    char new_path[PATH_BYTES];
    NEXT(next, "dlopen");
    return next(redirected(path, new_path), flags);
}
