/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors.c - the format's reader, which trusts nothing, and its canonical writer.
 *
 * LAYOUT  u64 little-endian header length | JSON header | data. The header maps a name to
 * {"dtype", "shape", "data_offsets": [begin, end)} relative to the data; "__metadata__" maps
 * strings to strings.
 *
 * READER  Weights and checkpoints arrive over the network and from disks, so before any byte
 * is believed: the header is at most 16 MiB, nested at most HEADER_DEPTH deep, with few enough
 * commas that the parsed tree stays a small multiple of it; keys are unique; shapes multiply
 * without overflow to exactly the bytes of the range; sorted ranges touch without hole or
 * overlap and end at the last byte of the buffer.
 *
 * WRITER  Order by falling element size, then name, so that every tensor is aligned to its
 * element when the data is (the header is padded to 8); same input, same bytes. Files appear
 * complete or not at all: written beside, synced, renamed, directory synced. */
#include "base/safetensors.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEADER_MAX = 16 << 20,
    HEADER_DEPTH = 3, /* { "name": { "shape": [ ] } } */
    NAME_MAX_BYTES = 512,
    LEN_BYTES = 8,
};

static const struct {
    const char *name;
    size_t size;
} dtypes[ST_DTYPES] = {
    [ST_F32] = {"F32", 4}, [ST_F64] = {"F64", 8}, [ST_I64] = {"I64", 8},
    [ST_I32] = {"I32", 4}, [ST_U8] = {"U8", 1},   [ST_BOOL] = {"BOOL", 1},
};

struct ref {
    const struct st_tensor *t;
};

struct st_reader {
    unsigned char *owned;      /* file contents, NULL when the caller owns the buffer */
    json_t *header;            /* names and metadata point into it */
    struct st_tensor *tensors; /* in file order */
    struct ref *by_name;       /* sorted */
    size_t count;
};

/* --- reading --- */

/* Nesting and number of values of the header, before a parser spends memory on it. A tensor's
 * entry takes more than five characters per comma whatever its rank. */
static int header_is_modest(const char *s, size_t n)
{
    size_t depth = 0, commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
            continue;
        }
        if (c == '"')
            quoted = true;
        else if ((c == '{' || c == '[') && ++depth > HEADER_DEPTH)
            return err_set(ERR_CORRUPT, "safetensors header: nested too deep");
        else if ((c == '}' || c == ']') && depth)
            depth--;
        else if (c == ',')
            commas++;
    }
    if (commas > n / 5 + 16)
        return err_set(ERR_CORRUPT, "safetensors header: too many values for its size");
    return 0;
}

static int parse_header(json_t **out, const char *s, size_t n)
{
    if (n == 0 || s[0] != '{')
        return err_set(ERR_CORRUPT, "safetensors header does not start with '{'");
    int err = header_is_modest(s, n);
    if (err)
        return err;
    json_error_t why;
    json_t *root = json_loadb(s, n, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return json_error_code(&why) == json_error_out_of_memory
                   ? err_set(ERR_NOMEM, "out of memory reading a safetensors header")
                   : err_set(ERR_CORRUPT, "safetensors header is not JSON: %s at byte %d",
                             why.text, why.position);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(ERR_CORRUPT, "safetensors header is not a JSON object");
    }
    *out = root;
    return 0;
}

static int parse_dtype(enum st_dtype *out, const char *name, const json_t *value)
{
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < ST_DTYPES; i++)
        if (strcmp(text, dtypes[i].name) == 0) {
            *out = (enum st_dtype)i;
            return 0;
        }
    return err_set(ERR_CORRUPT, "tensor %s: data type %.16s is not supported", name,
                   text ? text : "(not a string)");
}

/* A JSON integer that is a size; jansson's integers are signed 64-bit. */
static bool parse_size(size_t *out, const json_t *value)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static int parse_shape(struct st_tensor *t, const json_t *value)
{
    size_t rank = json_array_size(value);
    if (!json_is_array(value) || rank > ST_RANK_MAX)
        return err_set(ERR_CORRUPT, "tensor %s: shape is not a list of at most %d sizes",
                       t->name, ST_RANK_MAX);
    size_t bytes = dtypes[t->dtype].size;
    bool empty = false;
    for (size_t i = 0; i < rank; i++) {
        if (!parse_size(&t->shape[i], json_array_get(value, i)))
            return err_set(ERR_CORRUPT, "tensor %s: size %zu is not a count", t->name, i);
        /* An empty dimension must not hide an overflow among the others. */
        size_t dim = t->shape[i] ? t->shape[i] : 1;
        empty = empty || t->shape[i] == 0;
        if (__builtin_mul_overflow(bytes, dim, &bytes))
            return err_set(ERR_CORRUPT, "tensor %s: its shape overflows", t->name);
    }
    t->rank = rank;
    t->bytes = empty ? 0 : bytes;
    return 0;
}

/* Offsets into `size` bytes of data; their distance must be what the shape takes. */
static int parse_range(struct st_tensor *t, const json_t *value, const unsigned char *data,
                       size_t size)
{
    size_t begin, end;
    if (json_array_size(value) != 2 || !parse_size(&begin, json_array_get(value, 0)) ||
        !parse_size(&end, json_array_get(value, 1)))
        return err_set(ERR_CORRUPT, "tensor %s: data_offsets are not two counts", t->name);
    if (begin > end || end > size)
        return err_set(ERR_CORRUPT, "tensor %s: bytes %zu to %zu lie outside the %zu of data",
                       t->name, begin, end, size);
    if (end - begin != t->bytes)
        return err_set(ERR_CORRUPT, "tensor %s: %zu bytes stored, its shape takes %zu", t->name,
                       end - begin, t->bytes);
    t->data = data + begin;
    return 0;
}

static int parse_entry(struct st_tensor *t, const char *name, const json_t *entry,
                       const unsigned char *data, size_t size)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_BYTES)
        return err_set(ERR_CORRUPT, "a tensor's name has %zu bytes, 1 to %d are allowed", len,
                       NAME_MAX_BYTES);
    *t = (struct st_tensor){.name = name};
    if (!json_is_object(entry) || json_object_size(entry) != 3)
        return err_set(ERR_CORRUPT, "tensor %s: expected dtype, shape and data_offsets", name);
    int err = parse_dtype(&t->dtype, name, json_object_get(entry, "dtype"));
    if (!err)
        err = parse_shape(t, json_object_get(entry, "shape"));
    if (!err)
        err = parse_range(t, json_object_get(entry, "data_offsets"), data, size);
    return err;
}

static int check_meta(json_t *meta)
{
    const char *key;
    json_t *value;
    if (!json_is_object(meta))
        return err_set(ERR_CORRUPT, "safetensors __metadata__ is not a map");
    json_object_foreach(meta, key, value)
    {
        if (!json_is_string(value))
            return err_set(ERR_CORRUPT, "safetensors __metadata__ %.64s is not a string", key);
    }
    return 0;
}

/* By place in the data; an empty tensor comes before the one that starts where it lies. */
static int by_place(const void *a, const void *b)
{
    const struct st_tensor *x = a, *y = b;
    const unsigned char *p = x->data, *q = y->data;
    if (p != q)
        return p < q ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    const struct ref *x = a, *y = b;
    return strcmp(x->t->name, y->t->name);
}

static int check_cover(const struct st_reader *r, const unsigned char *data, size_t size)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < r->count; i++) {
        const struct st_tensor *t = &r->tensors[i];
        const unsigned char *start = t->data;
        if (start != at)
            return err_set(ERR_CORRUPT, "tensor %s: %s before its data", t->name,
                           start < at ? "another tensor overlaps it" : "unused bytes lie");
        at = start + t->bytes;
    }
    if (at != data + size)
        return err_set(ERR_CORRUPT, "safetensors: %zu bytes after the last tensor",
                       (size_t)(data + size - at));
    return 0;
}

static int fill(struct st_reader *r, const unsigned char *data, size_t size)
{
    size_t entries = json_object_size(r->header);
    r->tensors = calloc(entries + 1, sizeof *r->tensors);
    r->by_name = calloc(entries + 1, sizeof *r->by_name);
    if (!r->tensors || !r->by_name)
        return err_set(ERR_NOMEM, "out of memory for %zu tensors", entries);
    const char *key;
    json_t *value;
    json_object_foreach(r->header, key, value)
    {
        int err = strcmp(key, "__metadata__") == 0
                      ? check_meta(value)
                      : parse_entry(&r->tensors[r->count++], key, value, data, size);
        if (err)
            return err;
    }
    qsort(r->tensors, r->count, sizeof *r->tensors, by_place);
    for (size_t i = 0; i < r->count; i++)
        r->by_name[i].t = &r->tensors[i];
    qsort(r->by_name, r->count, sizeof *r->by_name, by_name);
    return check_cover(r, data, size);
}

int st_parse(struct st_reader **out, const void *buf, size_t n)
{
    const unsigned char *bytes = buf;
    if (n < LEN_BYTES)
        return err_set(ERR_CORRUPT, "safetensors: %zu bytes are too few for a header", n);
    uint64_t length = 0;
    for (size_t i = 0; i < LEN_BYTES; i++)
        length |= (uint64_t)bytes[i] << (8 * i);
    if (length > HEADER_MAX || length > n - LEN_BYTES)
        return err_set(ERR_CORRUPT, "safetensors: a header of %llu bytes in %zu (most %d)",
                       (unsigned long long)length, n, HEADER_MAX);
    struct st_reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(ERR_NOMEM, "out of memory for a safetensors reader");
    size_t header = (size_t)length;
    int err = parse_header(&r->header, (const char *)bytes + LEN_BYTES, header);
    if (!err)
        err = fill(r, bytes + LEN_BYTES + header, n - LEN_BYTES - header);
    if (err) {
        st_close(r);
        return err;
    }
    *out = r;
    return 0;
}

static int read_all(int fd, unsigned char *buf, size_t n, const char *path)
{
    size_t at = 0;
    while (at < n) {
        ssize_t got = read(fd, buf + at, n - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(ERR_IO, "reading %s: %s", path, strerror(errno));
        if (got == 0)
            return err_set(ERR_CORRUPT, "%s became shorter while it was read", path);
        at += (size_t)got;
    }
    return 0;
}

static int slurp(unsigned char **out, size_t *n, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "opening %s: %s", path,
                       strerror(errno));
    struct stat st;
    int err = 0;
    unsigned char *buf = NULL;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err = err_set(ERR_IO, "%s is not a regular file", path);
    if (!err && !(buf = malloc((size_t)st.st_size + 1)))
        err = err_set(ERR_NOMEM, "out of memory for the %lld bytes of %s",
                      (long long)st.st_size, path);
    if (!err)
        err = read_all(fd, buf, (size_t)st.st_size, path);
    close(fd);
    if (err) {
        free(buf);
        return err;
    }
    *out = buf;
    *n = (size_t)st.st_size;
    return 0;
}

int st_read_file(struct st_reader **out, const char *path)
{
    unsigned char *buf = NULL;
    size_t n = 0;
    struct st_reader *r = NULL;
    int err = slurp(&buf, &n, path);
    if (err)
        return err;
    err = st_parse(&r, buf, n);
    if (err) {
        free(buf);
        return err_set(err, "%s: %s", path, err_text());
    }
    bug_on(!r); /* success fills it */
    r->owned = buf;
    *out = r;
    return 0;
}

void st_close(struct st_reader *r)
{
    if (!r)
        return;
    json_decref(r->header);
    free(r->tensors);
    free(r->by_name);
    free(r->owned);
    free(r);
}

size_t st_count(const struct st_reader *r)
{
    return r->count;
}

const struct st_tensor *st_at(const struct st_reader *r, size_t i)
{
    bug_on(i >= r->count);
    return &r->tensors[i];
}

const struct st_tensor *st_find(const struct st_reader *r, const char *name)
{
    const struct st_tensor key = {.name = name};
    const struct ref wanted = {&key};
    const struct ref *found =
        bsearch(&wanted, r->by_name, r->count, sizeof *r->by_name, by_name);
    return found ? found->t : NULL;
}

const char *st_meta(const struct st_reader *r, const char *key)
{
    return json_string_value(json_object_get(json_object_get(r->header, "__metadata__"), key));
}

int st_copy_f32(const struct st_tensor *t, float *dst, size_t count)
{
    if (t->dtype != ST_F32 || t->bytes / sizeof(float) != count)
        return err_set(ERR_INVAL, "tensor %s: %zu values of type %s, wanted %zu of type F32",
                       t->name, t->bytes / dtypes[t->dtype].size, dtypes[t->dtype].name, count);
    if (count)
        memcpy(dst, t->data, t->bytes);
    return 0;
}

/* --- writing --- */

static int check_tensor(const struct st_tensor *t)
{
    if (!t->name || !t->name[0] || strlen(t->name) > NAME_MAX_BYTES ||
        strcmp(t->name, "__metadata__") == 0)
        return err_set(ERR_INVAL, "a tensor has no usable name");
    if ((unsigned)t->dtype >= ST_DTYPES || t->rank > ST_RANK_MAX)
        return err_set(ERR_INVAL, "tensor %s: unknown type or rank %zu", t->name, t->rank);
    size_t bytes = dtypes[t->dtype].size;
    for (size_t i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(bytes, t->shape[i], &bytes))
            return err_set(ERR_INVAL, "tensor %s: its shape overflows", t->name);
    if (bytes != t->bytes || (bytes && !t->data))
        return err_set(ERR_INVAL, "tensor %s: %zu bytes given, its shape takes %zu", t->name,
                       t->bytes, bytes);
    return 0;
}

/* Falling element size, then name: the order of the format's reference writer. */
static int canonical(const void *a, const void *b)
{
    const struct ref *x = a, *y = b;
    size_t sx = dtypes[x->t->dtype].size, sy = dtypes[y->t->dtype].size;
    if (sx != sy)
        return sx < sy ? 1 : -1;
    return strcmp(x->t->name, y->t->name);
}

/* Take ownership of value even on failure, as the jansson "new" calls do. */
static int set_new(json_t *object, const char *key, json_t *value)
{
    if (json_object_get(object, key)) {
        json_decref(value);
        return err_set(ERR_INVAL, "safetensors: %s is given twice", key);
    }
    if (!value || json_object_set_new(object, key, value) != 0)
        return err_set(ERR_INVAL, "safetensors: %s is not UTF-8, or memory is out", key);
    return 0;
}

static json_t *entry_json(const struct st_tensor *t, size_t begin)
{
    size_t end = begin + t->bytes;
    json_t *shape = json_array();
    for (size_t i = 0; shape && i < t->rank; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)t->shape[i])) != 0) {
            json_decref(shape);
            shape = NULL;
        }
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtypes[t->dtype].name, "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

static int header_json(json_t *root, const struct ref *order, size_t count,
                       const char *const (*meta)[2], size_t nmeta, size_t *bytes)
{
    if (nmeta) {
        json_t *map = json_object();
        int err = set_new(root, "__metadata__", map);
        for (size_t i = 0; !err && i < nmeta; i++)
            err = set_new(map, meta[i][0], json_string(meta[i][1]));
        if (err)
            return err;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        int err = set_new(root, order[i].t->name, entry_json(order[i].t, at));
        if (err)
            return err;
        if (__builtin_add_overflow(at, order[i].t->bytes, &at))
            return err_set(ERR_INVAL, "safetensors: more bytes than memory can hold");
    }
    *bytes = at;
    return 0;
}

/* Header text and tensors into one buffer. */
static int assemble(unsigned char **out, size_t *n, const char *text, const struct ref *order,
                    size_t count, size_t data)
{
    size_t len = strlen(text), padded = (len + 7) / 8 * 8;
    if (padded > HEADER_MAX)
        return err_set(ERR_INVAL, "safetensors: a header of %zu bytes (most %d)", padded,
                       HEADER_MAX);
    unsigned char *buf = malloc(LEN_BYTES + padded + data);
    if (!buf)
        return err_set(ERR_NOMEM, "out of memory for %zu bytes of tensors", data);
    for (size_t i = 0; i < LEN_BYTES; i++)
        buf[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    memcpy(buf + LEN_BYTES, text, len); /* NOLINT: bytes of a file, not a string */
    memset(buf + LEN_BYTES + len, ' ', padded - len);
    unsigned char *at = buf + LEN_BYTES + padded;
    for (size_t i = 0; i < count; i++) {
        if (order[i].t->bytes)
            memcpy(at, order[i].t->data, order[i].t->bytes);
        at += order[i].t->bytes;
    }
    *out = buf;
    *n = LEN_BYTES + padded + data;
    return 0;
}

/* The file in memory, given room for the order and an empty header. */
static int serialise(unsigned char **out, size_t *n, struct ref *order, json_t *root,
                     const struct st_tensor *tensors, size_t count,
                     const char *const (*meta)[2], size_t nmeta)
{
    for (size_t i = 0; i < count; i++) {
        int err = check_tensor(&tensors[i]);
        if (err)
            return err;
        order[i].t = &tensors[i];
    }
    qsort(order, count, sizeof *order, canonical);
    size_t data = 0;
    int err = header_json(root, order, count, meta, nmeta, &data);
    if (err)
        return err;
    char *text = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text)
        return err_set(ERR_NOMEM, "out of memory for a safetensors header");
    err = assemble(out, n, text, order, count, data);
    free(text);
    return err;
}

int st_write_mem(unsigned char **out, size_t *n, const struct st_tensor *tensors, size_t count,
                 const char *const (*meta)[2], size_t nmeta)
{
    struct ref *order = calloc(count + 1, sizeof *order);
    json_t *root = json_object();
    int err = order && root ? serialise(out, n, order, root, tensors, count, meta, nmeta)
                            : err_set(ERR_NOMEM, "out of memory for a safetensors header");
    json_decref(root);
    free(order);
    return err;
}

static int write_all(int fd, const unsigned char *buf, size_t n)
{
    while (n) {
        ssize_t put = write(fd, buf, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        buf += put;
        n -= (size_t)put;
    }
    return 0;
}

/* The rename is durable once the directory that holds the name is. */
static int sync_dir_of(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

static int replace_file(const char *path, const unsigned char *buf, size_t n)
{
    char tmp[PATH_MAX];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
        return err_set(ERR_IO, "writing %s: the path is too long", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_set(ERR_IO, "creating %s: %s", tmp, strerror(errno));
    bool ok = write_all(fd, buf, n) == 0 && fdatasync(fd) == 0;
    int why = errno;
    if (close(fd) != 0 && ok) {
        ok = false;
        why = errno;
    }
    if (ok && rename(tmp, path) != 0) {
        ok = false;
        why = errno;
    }
    if (!ok) {
        unlink(tmp);
        return err_set(ERR_IO, "writing %s: %s", path, strerror(why));
    }
    if (sync_dir_of(path) != 0)
        return err_set(ERR_IO, "syncing the directory of %s: %s", path, strerror(errno));
    return 0;
}

int st_write_file(const char *path, const struct st_tensor *tensors, size_t count,
                  const char *const (*meta)[2], size_t nmeta)
{
    unsigned char *buf = NULL;
    size_t n = 0;
    int err = st_write_mem(&buf, &n, tensors, count, meta, nmeta);
    if (err)
        return err;
    err = replace_file(path, buf, n);
    free(buf);
    return err;
}
