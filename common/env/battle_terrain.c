/* SPDX-License-Identifier: Apache-2.0 */
/* battle_terrain.c - which places are open, and the way round those that are not.
 *
 * A map is 32 x 32 cells, one bit each: row y is a word, bit x is set where the cell is open.
 * Ground units and colossi have grids of their own, flyers only the edge of the map. A unit
 * fits a place when its centre and the four points `fit` away along the axes are open.
 *
 * Ways are found greedily: if the straight walk is free it is taken, else the unit heads for
 * the cell within 3 cells that it can reach straight and that is fewest steps from the
 * target. Steps come from a breadth-first field per target cell, kept in a small table; a
 * field is a pure function of the map, so what the table happens to hold changes no result. */
#include "battle_core.h"

#include <math.h>
#include <string.h>

enum { REACH = 3 }; /* cells looked at around a unit for its next waypoint */

static const double SAMPLE = 0.25;

/* Height image: levels are far apart, ramp cells (a, b, c) between levels 1 and 2. */
static uint8_t cell_height(char level)
{
    if (level >= 'a' && level <= 'c')
        return (uint8_t)(128 + 16 * (level - 'a' + 1));
    return (uint8_t)(64 + 64 * (level - '0'));
}

static bool is_box(const uint32_t rows[SIDE])
{
    uint32_t row = 0;
    bool ended = false;
    for (int y = 0; y < SIDE; y++) {
        if (rows[y] && (ended || (row && rows[y] != row)))
            return false;
        if (!rows[y] && row)
            ended = true;
        if (rows[y])
            row = rows[y];
    }
    /* One run of ones: adding the lowest one carries out of the top of it. */
    uint32_t low = row & (~row + 1);
    return row && ((row + low) & row) == 0;
}

void terrain_init(struct terrain *t, const struct terrain_data *data)
{
    memset(t, 0, sizeof *t);
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            uint32_t bit = UINT32_C(1) << x;
            if (terrain_open(data, x, y, false)) {
                t->rows[LAYER_GROUND][y] |= bit;
                t->pathing[(y * SIDE + x) / 8] |= (uint8_t)(0x80 >> (x % 8));
            }
            if (terrain_open(data, x, y, true))
                t->rows[LAYER_COLOSSUS][y] |= bit;
            /* The game sends the height image from the top row down. */
            t->height[(SIDE - 1 - y) * SIDE + x] = cell_height(data->cliff_level[y][x]);
        }
        t->rows[LAYER_AIR][y] = UINT32_MAX;
    }
    for (int l = 0; l < LAYERS; l++) {
        const uint32_t *rows = t->rows[l];
        t->box[l] = is_box(rows);
        for (int y = 1; y < SIDE - 1; y++)
            t->clear[l][y] = rows[y] & rows[y - 1] & rows[y + 1] & rows[y] << 1 & rows[y] >> 1;
    }
    for (int f = 0; f < FIELDS; f++)
        t->field[f].cell = -1;
}

static inline bool open_at(const uint32_t rows[SIDE], double x, double y)
{
    if (!(x >= 0 && y >= 0 && x < SIDE && y < SIDE))
        return false;
    return rows[(int)y] >> (int)x & 1;
}

bool terrain_edge_fits(const struct terrain *t, const struct kind *k, double x, double y)
{
    const uint32_t *rows = t->rows[k->layer];
    if (k->layer == LAYER_AIR)
        return x >= 0 && y >= 0 && x <= SIDE && y <= SIDE;
    double r = k->fit;
    return open_at(rows, x, y) && open_at(rows, x - r, y) && open_at(rows, x + r, y) &&
           open_at(rows, x, y - r) && open_at(rows, x, y + r);
}

bool terrain_straight(const struct terrain *t, const struct kind *k, double x0, double y0,
                      double x1, double y1, double length)
{
    double dx = x1 - x0, dy = y1 - y0, d = sqrt(dx * dx + dy * dy);
    if (d <= 0 || length <= 0)
        return true;
    for (double s = SAMPLE; s < length; s += SAMPLE) {
        if (!terrain_fits(t, k, x0 + dx * (s / d), y0 + dy * (s / d)))
            return false;
    }
    return terrain_fits(t, k, x0 + dx * (length / d), y0 + dy * (length / d));
}

void terrain_pull_back(const struct terrain *t, const struct kind *k, double x, double y,
                       double *tx, double *ty)
{
    double dx = x - *tx, dy = y - *ty, d = sqrt(dx * dx + dy * dy);
    if (terrain_fits(t, k, *tx, *ty))
        return;
    /* Finer than the samples of a walk: units end close to the wall they were sent into. */
    for (double s = SAMPLE / 4; s < d; s += SAMPLE / 4) {
        double px = *tx + dx * (s / d), py = *ty + dy * (s / d);
        if (terrain_fits(t, k, px, py)) {
            *tx = px;
            *ty = py;
            return;
        }
    }
    *tx = x;
    *ty = y;
}

/* The open cells nearest to `cell`, all of them: a colossus on a cliff is reached from the foot
 * and from the brink. Written to `out`; returns how many. */
static int nearest_open(const uint32_t rows[SIDE], int cell, uint16_t out[CELLS])
{
    int n = 0, best = 0, cx = cell % SIDE, cy = cell / SIDE;
    for (int c = 0; c < CELLS; c++) {
        int dx = c % SIDE - cx, dy = c / SIDE - cy, d = dx * dx + dy * dy;
        if (!(rows[c / SIDE] >> (c % SIDE) & 1) || (n > 0 && d > best))
            continue;
        if (d < best)
            n = 0;
        best = d;
        out[n++] = (uint16_t)c;
    }
    return n;
}

static void field_fill(struct field *f, const uint32_t rows[SIDE])
{
    uint16_t queue[CELLS];
    int first = 0, last = nearest_open(rows, f->cell, queue);
    for (int c = 0; c < CELLS; c++)
        f->steps[c] = STEPS_NONE;
    for (int q = 0; q < last; q++)
        f->steps[queue[q]] = 0;
    while (first < last) {
        int c = queue[first++], x = c % SIDE, y = c / SIDE;
        static const int DX[4] = {1, -1, 0, 0}, DY[4] = {0, 0, 1, -1};
        for (int k = 0; k < 4; k++) {
            int nx = x + DX[k], ny = y + DY[k], nc = ny * SIDE + nx;
            if (nx < 0 || ny < 0 || nx >= SIDE || ny >= SIDE || !(rows[ny] >> nx & 1))
                continue;
            if (f->steps[nc] != STEPS_NONE)
                continue;
            f->steps[nc] = (uint16_t)(f->steps[c] + 1);
            queue[last++] = (uint16_t)nc;
        }
    }
}

static const struct field *field_to(struct terrain *t, enum layer layer, int cell)
{
    bool cliff = layer == LAYER_COLOSSUS;
    struct field *f = &t->field[(cell + cliff * FIELDS / 2) % FIELDS];
    if (f->cell != cell || f->cliff != cliff) {
        f->cell = cell;
        f->cliff = cliff;
        field_fill(f, t->rows[layer]);
    }
    return f;
}

bool terrain_waypoint(struct terrain *t, const struct kind *k, double x, double y, double tx,
                      double ty, double *wx, double *wy)
{
    const struct field *f = field_to(t, k->layer, terrain_cell(tx, ty));
    int here = terrain_cell(x, y), cx = here % SIDE, cy = here / SIDE, n = 0;
    struct {
        unsigned steps;
        double x, y, d2;
    } c[(2 * REACH + 1) * (2 * REACH + 1)];
    for (int gy = cy - REACH; gy <= cy + REACH; gy++) {
        for (int gx = cx - REACH; gx <= cx + REACH; gx++) {
            if (gx < 0 || gy < 0 || gx >= SIDE || gy >= SIDE)
                continue;
            double px = gx + 0.5, py = gy + 0.5;
            double d2 = (px - tx) * (px - tx) + (py - ty) * (py - ty);
            unsigned steps = f->steps[gy * SIDE + gx];
            if (steps == STEPS_NONE || steps > f->steps[here]) /* no way back */
                continue;
            c[n].steps = steps;
            c[n].x = px;
            c[n].y = py;
            c[n++].d2 = d2;
        }
    }
    /* The best by steps, then by distance, that a straight walk reaches: walks cost more than
     * looking for the next best. */
    for (; n > 0; n--) {
        int best = 0;
        for (int q = 1; q < n; q++) {
            if (c[q].steps < c[best].steps ||
                (c[q].steps == c[best].steps && c[q].d2 < c[best].d2))
                best = q;
        }
        double ux = c[best].x - x, uy = c[best].y - y;
        if (terrain_straight(t, k, x, y, c[best].x, c[best].y, sqrt(ux * ux + uy * uy))) {
            *wx = c[best].x;
            *wy = c[best].y;
            return true;
        }
        memmove(&c[best], &c[best + 1], (size_t)(n - 1 - best) * sizeof *c);
    }
    return false;
}
