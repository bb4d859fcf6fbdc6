/* SPDX-License-Identifier: Apache-2.0 */
/* battle_round.c - the way round those who stand: which heading passes them.
 *
 * In the game late-comers flow round a line of friends that fight, and turn into a gap as soon
 * as it opens; how is not public beyond the picture that standing units close a part of the
 * horizon and a walker makes for the nearer end of it. So: a unit looks AHEAD for units of its
 * layer that have not moved for a few loops, tries headings in sixteenths of a turn away from
 * its direct one, and takes the first along which it would touch none of them.
 *
 * Only places and the loops of last moves are read, so the order of neighbours changes
 * nothing. */
#include "battle_core.h"

static const double AHEAD = 1;      /* map units looked ahead */
static const double APART = 1e-7;   /* touching is no contact */
enum { STILL_LOOPS = 2, HALF = 8 }; /* moved within: walks; sixteenths of half a turn */

const struct sixteenth sixteenth[TURN] = {
    {1, 0},
    {0.92387953251128674, 0.38268343236508977},
    {0.70710678118654752, 0.70710678118654752},
    {0.38268343236508977, 0.92387953251128674},
    {0, 1},
    {-0.38268343236508977, 0.92387953251128674},
    {-0.70710678118654752, 0.70710678118654752},
    {-0.92387953251128674, 0.38268343236508977},
    {-1, 0},
    {-0.92387953251128674, -0.38268343236508977},
    {-0.70710678118654752, -0.70710678118654752},
    {-0.38268343236508977, -0.92387953251128674},
    {0, -1},
    {0.38268343236508977, -0.92387953251128674},
    {0.70710678118654752, -0.70710678118654752},
    {0.92387953251128674, -0.38268343236508977},
};

bool unit_stands(const struct battle *b, int i)
{
    return b->moved_at[i] + STILL_LOOPS < b->now;
}

/* Those who stand, as the walker sees them: offsets, squares of the distance of contact. In
 * single precision, four at a time: a heading is a choice between directions, and every step
 * is checked exactly before it is taken. */
struct posts {
    int n; /* a multiple of four; the last ones may be empty, sum2 = 0 */
    float x[UNITS + 4], y[UNITS + 4], sum2[UNITS + 4];
};

static void posts_of(const struct battle *b, int i, const struct near *near, int n_near,
                     struct posts *p)
{
    int n = 0;
    for (int k = 0; k < n_near; k++) {
        int j = near[k].id;
        if (!unit_stands(b, j))
            continue;
        double sum = b->sep[i] - APART + b->sep[j];
        p->x[n] = (float)(near[k].x - b->x[i]);
        p->y[n] = (float)(near[k].y - b->y[i]);
        p->sum2[n++] = (float)(sum * sum);
    }
    for (; n % 4; n++)
        p->x[n] = p->y[n] = p->sum2[n] = 0;
    p->n = n;
}

/* The first `ahead` of the walk along the unit vector (ux,uy) touches none of them. */
static bool clear(const struct posts *p, float ux, float uy, float ahead)
{
    for (int k = 0; k < p->n; k += 4) {
#ifdef __SSE2__
        const __m128 zero = _mm_setzero_ps(), vx = _mm_set1_ps(ux), vy = _mm_set1_ps(uy);
        __m128 x = _mm_loadu_ps(&p->x[k]), y = _mm_loadu_ps(&p->y[k]);
        __m128 along = _mm_add_ps(_mm_mul_ps(x, vx), _mm_mul_ps(y, vy));
        __m128 across = _mm_sub_ps(_mm_mul_ps(x, vy), _mm_mul_ps(y, vx));
        __m128 half2 = _mm_sub_ps(_mm_loadu_ps(&p->sum2[k]), _mm_mul_ps(across, across));
        __m128 beyond = _mm_sub_ps(along, _mm_set1_ps(ahead));
        __m128 soon = _mm_or_ps(_mm_cmplt_ps(beyond, zero),
                                _mm_cmplt_ps(_mm_mul_ps(beyond, beyond), half2));
        __m128 meets = _mm_and_ps(_mm_cmpgt_ps(along, zero), _mm_cmpgt_ps(half2, zero));
        if (_mm_movemask_ps(_mm_and_ps(meets, soon)))
            return false;
#else
        for (int u = k; u < k + 4; u++) {
            float along = p->x[u] * ux + p->y[u] * uy, across = p->x[u] * uy - p->y[u] * ux;
            float half2 = p->sum2[u] - across * across, beyond = along - ahead;
            if (along > 0 && half2 > 0 && (beyond < 0 || beyond * beyond < half2))
                return false;
        }
#endif
    }
    return true;
}

/* Sixteenths from the direct heading to the first clear one on a side; TURN = all closed. */
static int horizon(const struct posts *p, double ux, double uy, float ahead, int side)
{
    for (int turn = 1; turn <= HALF; turn++) {
        double c = sixteenth[turn].c, s = sixteenth[turn].s * side;
        if (clear(p, (float)(ux * c - uy * s), (float)(ux * s + uy * c), ahead))
            return turn;
    }
    return TURN;
}

double round_ahead(double length)
{
    return least(AHEAD, length);
}

int round_find(struct battle *b, int i, const struct near *near, int n, double ux, double uy,
               double ahead, bool fresh)
{
    struct posts p;
    const float far = (float)ahead;
    posts_of(b, i, near, n, &p);
    if (clear(&p, (float)ux, (float)uy, far))
        return 0;
    int turn = horizon(&p, ux, uy, far, b->prefer[i]);
    if (!fresh)
        return turn;
    int other = horizon(&p, ux, uy, far, -b->prefer[i]);
    if (other >= turn)
        return turn;
    b->prefer[i] = (int8_t)-b->prefer[i];
    return other;
}
