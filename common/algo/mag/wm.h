/* SPDX-License-Identifier: Apache-2.0 */
/* wm.h - the world model over a batch of windows: what the model step and R_m share.
 *
 * Memory for T = W-1 steps of up to B windows, carved once. Row numbers are (t*B + window)*N +
 * agent over the windows of the call, so a batch smaller than B uses the front of every array.
 * Steps 0..T-2 have an observation, a posterior and a prior; step T-1 only gives its h. */
#ifndef MAG_WM_H
#define MAG_WM_H

#include "mag_priv.h"
#include "model/train.h"

enum { WM_ROWS = 64 }; /* tokens of one task in phases that walk tokens */

enum wm_term { WM_KL, WM_REC, WM_REW, WM_CONT, WM_AVL, WM_DIS, WM_TERMS };

struct wm_worker {
    struct nets_work *nets;
    float *scratch;
};

struct wm_work {
    size_t W, B_max;
    /* sizes of the current call */
    size_t T, B, tokens; /* tokens of one step */
    size_t rows, steps;  /* tokens with a posterior: (T-1)*tokens; T*tokens */
    struct mag_batch batch;
    const struct mag_windows *windows;

    uint8_t *index; /* [T][tokens][C]: slot t is the input of step t, slot t+1 posterior t */
    uint8_t *prior_index;    /* [T-1][tokens][C] */
    uint8_t *skip;           /* [T][tokens] 1: no previous state */
    uint8_t *action;         /* [T][tokens] */
    uint8_t *cont;           /* [T-1][tokens] 1 - done_{t+1} */
    float *real;             /* [T-1][tokens] 1 - fake_t */
    float *h, *d_h;          /* [T][tokens][D] */
    float *p, *q;            /* [T-1][tokens][latent ld] posterior, prior softmax */
    float *d_s;              /* the same shape: gradient of s_t's one-hot columns */
    float *u_post, *u_prior; /* [T-1][tokens][C] uniforms */
    float *value[WM_TERMS];  /* [T-1][tokens] per token */
    float *label;            /* [T-1][tokens] R_m's */
    struct mlp_tape enc, post, prior;
    struct trans_tape trans;
    /* One head after the other is run, so these four tapes share one piece of memory:
     * reward, cont, avail, R_m in `head`; or the decoder's three. */
    struct mlp_tape head[NET_HEADS];
    struct mlp_tape info;
    float *pred, *d_pred; /* [T-1][tokens][kern_pad(O)] decoded observation */
    size_t workers;
    struct wm_worker *worker;
};

size_t wm_bytes(const struct nets *n, size_t W, size_t B, size_t workers);
struct wm_work *wm_carve(const struct nets *n, size_t W, size_t B, size_t workers,
                         struct arena *a);

/* Take a batch: sizes, masks, actions. ERR_INVAL if it does not fit what was carved. */
int wm_begin(struct wm_work *wm, const struct nets *n, const struct mag_windows *w,
             bool zero_first_action);

/* The uniforms of a domain for all steps, draws keyed (item; sub0 + t). u is [T-1][tokens][C]. */
void wm_draw(struct wm_work *wm, const struct nets *n, struct pool *pool,
             const struct draws *draws, enum draw_domain domain, uint64_t item, uint32_t sub0,
             float *u);

/* Recurrence without tape and dropout: h of all steps, posterior softmax p, index. Needs
 * u_post. And the priors at h: q, with prior_index from u_prior when sample is set. */
void wm_filter(struct wm_work *wm, const struct nets *n, struct pool *pool);
void wm_priors(struct wm_work *wm, const struct nets *n, struct pool *pool, bool sample);

/* Windows that one task of the recurrence takes: a constant of the sizes, not of threads. */
size_t wm_windows_per_task(const struct nets *n);

#endif
