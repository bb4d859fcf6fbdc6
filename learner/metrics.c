/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - the same numbers twice: a line of JSON for scripts, an event for TensorBoard.
 *
 * WHY  run.db holds the truth; these files exist so that tools people already have can draw
 * curves while a run goes on. Losing them loses nothing.
 *
 * TensorBoard's event file is a sequence of records
 *   u64 length | u32 masked crc32c(length) | payload | u32 masked crc32c(payload)
 * with protobuf payloads small enough to write by hand: Event{1: double wall_time, 2: int64 step,
 * 3: string file_version, 5: Summary{1: Value{1: tag, 2: float}}}. Both files are cut back to
 * the checkpoint on resume: lines by their iteration, events by the env_steps of the last line
 * that stays (the steps of two iterations' lines always differ). */
#include "learner/metrics.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH_BYTES = 4096,
    RECORD_HEAD = 12,
    RECORD_TAIL = 4,
    EVENT_MAX = 512,
    LINE_MAX_BYTES = 1 << 16
};

struct metrics {
    FILE *jsonl, *events;
};

static int io_error(const char *what, const char *path)
{
    return err_set(ERR_IO, "%s %s: %s", what, path, strerror(errno));
}

/* ----------------------------------------------------------------------- event file format */

static uint32_t masked_crc(const void *p, size_t n)
{
    uint32_t crc = crc32c(0, p, n);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void put_le(unsigned char *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get_le(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static size_t put_varint(unsigned char *p, uint64_t v)
{
    size_t n = 0;
    do {
        p[n] = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
        n++;
    } while (v);
    return n;
}

static int write_record(FILE *f, const unsigned char *payload, size_t n)
{
    unsigned char head[RECORD_HEAD], tail[RECORD_TAIL];
    put_le(head, n, 8);
    put_le(head + 8, masked_crc(head, 8), 4);
    put_le(tail, masked_crc(payload, n), 4);
    bool ok = fwrite(head, sizeof head, 1, f) == 1 && fwrite(payload, n, 1, f) == 1 &&
              fwrite(tail, sizeof tail, 1, f) == 1;
    return ok ? 0 : err_set(ERR_IO, "cannot write TensorBoard events: %s", strerror(errno));
}

static size_t event_head(unsigned char *p, uint64_t step)
{
    double wall = (double)clock_wall_ms() / 1000;
    uint64_t bits;
    memcpy(&bits, &wall, sizeof bits);
    p[0] = 1 << 3 | 1; /* wall_time, 64-bit */
    put_le(p + 1, bits, 8);
    p[9] = 2 << 3; /* step, varint */
    return 10 + put_varint(p + 10, step);
}

static int write_scalar(FILE *f, uint64_t step, const char *tag, double value)
{
    unsigned char event[EVENT_MAX], v[EVENT_MAX];
    size_t tag_n = strlen(tag), vn = 0;
    if (tag_n > 127) /* one-byte lengths below */
        return err_set(ERR_INVAL, "metric name too long: %s", tag);
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    v[vn++] = 1 << 3 | 2;
    v[vn++] = (unsigned char)tag_n;
    memcpy(v + vn, tag, tag_n);
    vn += tag_n;
    v[vn++] = 2 << 3 | 5;
    put_le(v + vn, bits, 4);
    vn += 4;
    size_t n = event_head(event, step);
    unsigned char size[10];
    size_t size_n = put_varint(size, vn);
    event[n++] = 5 << 3 | 2; /* summary */
    n += put_varint(event + n, 1 + size_n + vn);
    event[n++] = 1 << 3 | 2; /* value */
    memcpy(event + n, size, size_n);
    memcpy(event + n + size_n, v, vn);
    return write_record(f, event, n + size_n + vn);
}

static int write_version(FILE *f)
{
    static const char version[] = "brain.Event:2";
    unsigned char event[64];
    size_t n = event_head(event, 0);
    event[n++] = 3 << 3 | 2;
    event[n++] = sizeof version - 1;
    memcpy(event + n, version, sizeof version - 1);
    return write_record(f, event, n + sizeof version - 1);
}

/* The step of an event this module wrote: field 2 right after the 9 bytes of wall_time. */
static uint64_t event_step(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 10; i < n && i < 20; i++) {
        v |= (uint64_t)(p[i] & 0x7f) << 7 * (i - 10);
        if (!(p[i] & 0x80))
            break;
    }
    return v;
}

/* ------------------------------------------------------------------------ cutting on resume */

/* Truncate an event file at its first record past the cut, or at the first broken one. */
static int cut_events(const char *path, uint64_t cut)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return io_error("cannot read", path);
    unsigned char head[RECORD_HEAD], payload[EVENT_MAX + RECORD_TAIL];
    long keep = 0;
    while (fread(head, sizeof head, 1, f) == 1) {
        uint64_t n = get_le(head, 8);
        if (get_le(head + 8, 4) != masked_crc(head, 8) || n > EVENT_MAX ||
            fread(payload, (size_t)n + RECORD_TAIL, 1, f) != 1 ||
            get_le(payload + n, 4) != masked_crc(payload, (size_t)n) ||
            event_step(payload, (size_t)n) > cut)
            break;
        keep = ftell(f);
    }
    fclose(f);
    return truncate(path, keep) ? io_error("cannot cut", path) : 0;
}

static int cut_event_files(const char *dir, uint64_t cut)
{
    char path[PATH_BYTES];
    int err = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && !err && (e = readdir(d));)
        if (strstr(e->d_name, "tfevents")) {
            if (snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < (int)sizeof path)
                err = cut_events(path, cut);
        }
    if (d)
        closedir(d);
    return err;
}

static bool number_of(const char *line, const char *key, uint64_t *out)
{
    const char *at = strstr(line, key);
    if (at)
        *out = strtoull(at + strlen(key), NULL, 10);
    return at != NULL;
}

/* Lines are in order: cut at the first of a later iteration, or at one that was torn. *steps:
 * env_steps of the last line that stays, 0 if none does. */
static int cut_jsonl(const char *path, uint64_t iteration_cut, uint64_t *steps)
{
    FILE *f = fopen(path, "rb");
    *steps = 0;
    if (!f)
        return errno == ENOENT ? 0 : io_error("cannot read", path);
    char *line = malloc(LINE_MAX_BYTES);
    long keep = 0;
    while (line && fgets(line, LINE_MAX_BYTES, f)) {
        uint64_t iteration = 0, env_steps = 0;
        size_t n = strlen(line);
        if (!n || line[n - 1] != '\n' || !number_of(line, "\"iteration\":", &iteration) ||
            !number_of(line, "\"env_steps\":", &env_steps) || iteration >= iteration_cut)
            break;
        *steps = env_steps;
        keep = ftell(f);
    }
    free(line);
    fclose(f);
    return truncate(path, keep) ? io_error("cannot cut", path) : 0;
}

/* -------------------------------------------------------------------------------- the files */

static int open_jsonl(struct metrics *m, const char *run_dir, uint64_t iteration_cut,
                      uint64_t *steps)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/metrics.jsonl", run_dir);
    int err = cut_jsonl(path, iteration_cut, steps);
    if (err)
        return err;
    m->jsonl = fopen(path, "ab");
    return m->jsonl ? 0 : io_error("cannot open", path);
}

static int open_events(struct metrics *m, const char *run_dir, uint64_t cut)
{
    char dir[PATH_BYTES - 160], path[PATH_BYTES], host[64] = "localhost";
    snprintf(dir, sizeof dir, "%s/tb", run_dir);
    if (mkdir(dir, 0755) && errno != EEXIST)
        return io_error("cannot create", dir);
    int err = cut_event_files(dir, cut);
    if (err)
        return err;
    gethostname(host, sizeof host - 1);
    snprintf(path, sizeof path, "%s/events.out.tfevents.%010lld.%s.%ld", dir,
             (long long)(clock_wall_ms() / 1000), host, (long)getpid());
    m->events = fopen(path, "ab");
    return m->events ? write_version(m->events) : io_error("cannot open", path);
}

int metrics_open(struct metrics **out, const char *run_dir, uint64_t iteration_cut)
{
    uint64_t steps = 0;
    struct metrics *m = calloc(1, sizeof *m);
    if (!m)
        return ERR_NOMEM;
    int err = open_jsonl(m, run_dir, iteration_cut, &steps);
    if (!err)
        err = open_events(m, run_dir, iteration_cut == UINT64_MAX ? UINT64_MAX : steps);
    if (err)
        metrics_close(m);
    else
        *out = m;
    return err;
}

void metrics_close(struct metrics *m)
{
    if (!m)
        return;
    if (m->jsonl)
        fclose(m->jsonl);
    if (m->events)
        fclose(m->events);
    free(m);
}

int metrics_write(struct metrics *m, uint64_t iteration, uint64_t env_steps, double elapsed_s,
                  const struct metric *values, size_t n)
{
    char now[25];
    clock_rfc3339(now, clock_wall_ms());
    fprintf(m->jsonl,
            "{\"iteration\":%llu,\"env_steps\":%llu,\"elapsed_s\":%.3f,\"time\":\"%s\"",
            (unsigned long long)iteration, (unsigned long long)env_steps, elapsed_s, now);
    int err = 0;
    for (size_t i = 0; i < n && !err; i++) {
        if (!isfinite(values[i].value)) {
            fprintf(m->jsonl, ",\"%s\":null", values[i].name);
            continue;
        }
        fprintf(m->jsonl, ",\"%s\":%.9g", values[i].name, values[i].value);
        err = write_scalar(m->events, env_steps, values[i].name, values[i].value);
    }
    fputs("}\n", m->jsonl);
    return err ? err : metrics_flush(m);
}

int metrics_flush(struct metrics *m)
{
    if (fflush(m->jsonl) || fflush(m->events))
        return err_set(ERR_IO, "cannot write metrics: %s", strerror(errno));
    return 0;
}
