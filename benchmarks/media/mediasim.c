/* mediasim: an nbdkit plugin that makes a file behave, in time, like a real medium.
 *
 *   nbdkit ./mediasim.so file=disk.img model=usb|usb-slow|hdd|ssd [parameter=value ...]
 *
 * One serial device. Every request occupies it for command + positioning + bytes / bandwidth,
 * on an absolute clock, so that errors do not add up. Where the model has a write cache, a write
 * returns while the backlog is shorter than the cache; a flush waits for all of it.
 *
 *   stats=FILE   counters, rewritten in place after every request: what device time a command
 *                cost can be read without unmounting, and does not depend on the machine's load
 *   trace=FILE   every write and flush with its bytes, for replay of power cuts
 *   fault=FILE   re-read at each request; lines: "gone" (unplugged), "enospc",
 *                "eio-read OFFSET LENGTH", "eio-write OFFSET LENGTH"
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS
#define ERASE_BLOCK_BYTES (4 << 20)
#define MAX_OPEN_ERASE_BLOCKS 64
#define NEAR_BYTES (1 << 20) /* a seek within this distance is a track-to-track one */

/* All times in seconds, all rates in bytes per second. */
struct model {
    const char *name;
    double read_rate, write_rate;
    double read_command, write_command; /* not following on the request before */
    double next_command;                /* following on it */
    double average_seek, rotation;      /* 0: no moving parts */
    double flush_command;
    double cache;             /* backlog that a write may leave behind */
    double erase_penalty;     /* writing into an erase block that is not open */
    double open_erase_blocks; /* how many the controller keeps open */
};

static const struct model MODELS[] = {
    {"usb", 35e6, 30e6, 1e-3, 1.5e-3, 0.15e-3, 0, 0, 2e-3, 0, 12e-3, 4},
    {"usb-slow", 20e6, 8e6, 1e-3, 2e-3, 0.2e-3, 0, 0, 3e-3, 0, 60e-3, 2},
    {"hdd", 120e6, 120e6, 0.1e-3, 0.1e-3, 0.05e-3, 8e-3, 8.33e-3, 0, 0.05, 0, 4},
    {"ssd", 520e6, 450e6, 80e-6, 30e-6, 20e-6, 0, 0, 0.5e-3, 0.02, 0, 4},
};

struct counters {
    uint64_t reads, writes, flushes, read_bytes, written_bytes;
    double busy;
};

struct trace_entry {
    char kind; /* 'W' followed by its bytes, or 'F' */
    char padding[3];
    uint32_t length;
    uint64_t offset;
    double time;
};

static struct model medium;
static char *disk_path, *stats_path, *trace_path, *fault_path;
static int disk = -1, stats = -1;
static FILE *trace;
static int64_t disk_size;
static struct counters counted;
static int64_t last_end = -1;
static double free_at; /* when the device has done all that it was given */
static int64_t open_blocks[MAX_OPEN_ERASE_BLOCKS];
static int open_count;
static uint64_t random_state = 88172645463325252u; /* fixed: every run positions alike */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void wait_until(double when) {
    struct timespec t = {(time_t)when, (long)((when - floor(when)) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

/* 0 <= result < 1; xorshift, since only repeatability matters here. */
static double next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) / 9007199254740992.0;
}

/* Seek time grows with the root of the distance; over random pairs its mean is average_seek,
 * as the mean of sqrt(distance / size) is 8/15. */
static double seek(int64_t distance) {
    const double settle = 0.8e-3, track_to_track = 0.5e-3;
    if (distance < NEAR_BYTES)
        return track_to_track;
    double part = sqrt((double)distance / (double)disk_size);
    return settle + (medium.average_seek - settle) * part * 15 / 8;
}

/* The price of writing into erase blocks that the controller does not hold open; moves the
 * blocks touched to the front of those that it does. */
static double erase(int64_t offset, int64_t length, int follows) {
    double price = 0;
    if (medium.erase_penalty <= 0)
        return 0;
    int64_t last = (offset + length - 1) / ERASE_BLOCK_BYTES;
    for (int64_t block = offset / ERASE_BLOCK_BYTES; block <= last; block++) {
        int at = 0;
        while (at < open_count && open_blocks[at] != block)
            at++;
        if (at == open_count) {
            if (open_count < (int)medium.open_erase_blocks)
                open_count++;
            else if (!follows || at == 0)
                price += medium.erase_penalty;
            at = open_count - 1;
        }
        memmove(open_blocks + 1, open_blocks, (size_t)at * sizeof *open_blocks);
        open_blocks[0] = block;
    }
    return price;
}

/* Time before the first byte moves. */
static double positioning(int64_t offset, int64_t length, int is_write) {
    int follows = offset == last_end;
    double time =
        follows ? medium.next_command : (is_write ? medium.write_command : medium.read_command);
    if (medium.average_seek > 0 && !follows) {
        int64_t distance = last_end < 0 ? disk_size / 3 : llabs(offset - last_end);
        time += seek(distance) + next_random() * medium.rotation;
    }
    if (is_write)
        time += erase(offset, length, follows);
    last_end = offset + length;
    return time;
}

/* Occupies the device; returns when the caller of such a request would go on. */
static void occupy(double seconds, int may_lag) {
    double start = now();
    if (free_at < start)
        free_at = start;
    free_at += seconds;
    counted.busy += seconds;
    double until = may_lag ? free_at - medium.cache : free_at;
    if (until > start)
        wait_until(until);
}

static void publish(void) {
    char line[160];
    if (stats < 0)
        return;
    int length =
        snprintf(line, sizeof line,
                 "%12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %16" PRIu64 " %16" PRIu64 " %16.6f\n",
                 counted.reads, counted.writes, counted.flushes, counted.read_bytes,
                 counted.written_bytes, counted.busy);
    if (pwrite(stats, line, (size_t)length, 0) != length)
        nbdkit_error("stats: %s", strerror(errno));
}

/* The error that the fault file asks for, or 0. */
static int fault(int is_write, uint64_t offset, uint32_t length) {
    char line[128], kind[32];
    int error = 0;
    FILE *file = fault_path ? fopen(fault_path, "r") : NULL;
    if (!file)
        return 0;
    while (!error && fgets(line, sizeof line, file)) {
        int64_t from = 0, count = INT64_MAX;
        if (sscanf(line, "%31s %" SCNd64 " %" SCNd64, kind, &from, &count) < 1)
            continue;
        int64_t begin = (int64_t)offset, end = begin + (int64_t)length;
        int hit = end > from && (count == INT64_MAX || begin < from + count);
        if (!strcmp(kind, "gone"))
            error = EIO;
        else if (!strcmp(kind, "enospc") && is_write)
            error = ENOSPC;
        else if (!strcmp(kind, is_write ? "eio-write" : "eio-read") && hit)
            error = EIO;
    }
    fclose(file);
    return error;
}

static int refuse(int error) {
    nbdkit_set_error(error);
    nbdkit_error("injected: %s", strerror(error));
    return -1;
}

static void record(char kind, uint64_t offset, uint32_t length, const void *bytes) {
    if (!trace)
        return;
    struct trace_entry entry = {kind, {0}, length, offset, now()};
    fwrite(&entry, sizeof entry, 1, trace);
    if (bytes)
        fwrite(bytes, 1, length, trace);
    else
        fflush(trace);
}

static int sim_pread(void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags) {
    (void)handle, (void)flags;
    int error = fault(0, offset, count);
    if (error)
        return refuse(error);
    counted.reads++;
    counted.read_bytes += count;
    occupy(positioning((int64_t)offset, count, 0) + count / medium.read_rate, 0);
    publish();
    return pread(disk, buffer, count, (off_t)offset) == (ssize_t)count ? 0 : refuse(EIO);
}

static int sim_pwrite(void *handle, const void *buffer, uint32_t count, uint64_t offset,
                      uint32_t flags) {
    (void)handle, (void)flags;
    int error = fault(1, offset, count);
    if (error)
        return refuse(error);
    counted.writes++;
    counted.written_bytes += count;
    record('W', offset, count, buffer);
    occupy(positioning((int64_t)offset, count, 1) + count / medium.write_rate, medium.cache > 0);
    publish();
    return pwrite(disk, buffer, count, (off_t)offset) == (ssize_t)count ? 0 : refuse(EIO);
}

static int sim_flush(void *handle, uint32_t flags) {
    (void)handle, (void)flags;
    int error = fault(1, 0, 0);
    if (error == EIO)
        return refuse(error);
    counted.flushes++;
    record('F', 0, 0, NULL);
    occupy(medium.flush_command, 0);
    publish();
    return 0;
}

static int choose_model(const char *name) {
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++)
        if (!strcmp(name, MODELS[i].name)) {
            medium = MODELS[i];
            return 0;
        }
    nbdkit_error("no such model: %s", name);
    return -1;
}

static int sim_config(const char *key, const char *value) {
    const struct {
        const char *key;
        char **path;
    } paths[] = {{"file", &disk_path},
                 {"stats", &stats_path},
                 {"trace", &trace_path},
                 {"fault", &fault_path}};
    const struct {
        const char *key;
        double *number;
    } numbers[] = {{"read-rate", &medium.read_rate},
                   {"write-rate", &medium.write_rate},
                   {"read-command", &medium.read_command},
                   {"write-command", &medium.write_command},
                   {"next-command", &medium.next_command},
                   {"seek", &medium.average_seek},
                   {"rotation", &medium.rotation},
                   {"flush", &medium.flush_command},
                   {"cache", &medium.cache},
                   {"erase-penalty", &medium.erase_penalty},
                   {"open-erase-blocks", &medium.open_erase_blocks}};
    if (!strcmp(key, "model"))
        return choose_model(value);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (!strcmp(key, paths[i].key))
            return (*paths[i].path = nbdkit_absolute_path(value)) ? 0 : -1;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(key, numbers[i].key)) {
            *numbers[i].number = atof(value);
            return 0;
        }
    nbdkit_error("no such parameter: %s", key);
    return -1;
}

static int sim_config_complete(void) {
    struct stat found;
    if (!disk_path || (!medium.name && choose_model("usb")))
        return -1;
    if (medium.open_erase_blocks < 1 || medium.open_erase_blocks > MAX_OPEN_ERASE_BLOCKS) {
        nbdkit_error("open-erase-blocks: 1 to %d", MAX_OPEN_ERASE_BLOCKS);
        return -1;
    }
    disk = open(disk_path, O_RDWR | O_CLOEXEC);
    if (disk < 0 || fstat(disk, &found) < 0) {
        nbdkit_error("%s: %s", disk_path, strerror(errno));
        return -1;
    }
    disk_size = found.st_size;
    if (stats_path)
        stats = open(stats_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (trace_path)
        trace = fopen(trace_path, "wbe");
    publish();
    return 0;
}

static void *sim_open(int readonly) {
    (void)readonly;
    return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t sim_size(void *handle) {
    (void)handle;
    return disk_size;
}

static int sim_yes(void *handle) {
    (void)handle;
    return 1;
}

static int sim_fua(void *handle) {
    (void)handle;
    return NBDKIT_FUA_EMULATE;
}

static void sim_unload(void) {
    publish();
    if (trace)
        fclose(trace);
}

static struct nbdkit_plugin plugin = {
    .name = "mediasim",
    .version = "1",
    .config = sim_config,
    .config_complete = sim_config_complete,
    .open = sim_open,
    .get_size = sim_size,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .flush = sim_flush,
    .can_flush = sim_yes,
    .can_write = sim_yes,
    .can_fua = sim_fua,
    .unload = sim_unload,
};

NBDKIT_REGISTER_PLUGIN(plugin)
