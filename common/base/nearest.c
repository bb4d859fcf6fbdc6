/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.c - the name a person probably meant.
 *
 * Edit distance with transposed neighbours as one edit (restricted Damerau-Levenshtein): the
 * usual slips are a missing, doubled, wrong or swapped letter. About a third of the letters
 * may differ; beyond that a suggestion confuses more than it helps. */
#include "base/config.h"

#include <string.h>

enum { WORD_MAX = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, size_t m, const char *b, size_t n)
{
    size_t row[3][WORD_MAX + 1]; /* rows i-2, i-1, i of the table, by i % 3 */
    for (size_t j = 0; j <= n; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t *now = row[i % 3], *up = row[(i + 2) % 3], *upper = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = up[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = least(change, least(up[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], upper[j - 2] + 1);
        }
    }
    return row[m % 3][n];
}

const char *nearest_name(const char *word, const char *const *names, size_t n)
{
    size_t len = strlen(word), best = WORD_MAX;
    const char *found = NULL;
    if (len == 0 || len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n && names[i]; i++) {
        size_t other = strlen(names[i]);
        if (other > WORD_MAX)
            continue;
        size_t d = distance(word, len, names[i], other);
        size_t limit = len <= 3 ? 1 : len <= 6 ? 2 : 3;
        if (d < best && d <= limit && d < other) {
            best = d;
            found = names[i];
        }
    }
    return found;
}
