/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - evaluation episodes onto film (film/film.h), whatever plays them. */
#ifndef MAG_RECORD_H
#define MAG_RECORD_H

#include "env/env.h"
#include "film/film.h"

struct record; /* opaque */

/* path: the file, or a directory that gets MAP-POLICY-SEED.film; with a slash at its end it is
 * made if need be. `env` is any environment of the configuration, open. ERR_UNSUPPORTED if it has
 * no units, ERR_IO if nothing can be written there, ERR_NOMEM. */
int record_open(struct record **out, const char *path, const struct config *cfg,
                const struct env_class *class, const struct env *env, const char *policy,
                bool scripted, uint64_t seed);
void record_close(struct record *r); /* what was not saved is lost; NULL is a no-op */

/* An episode of one environment, from after its reset to its end. */
int record_begin(struct record *r, struct film_take **out, const struct env *env,
                 uint64_t number, uint64_t seed);
int record_step(struct record *r, struct film_take **take, const struct env *env,
                const uint8_t *action, const struct env_step *step);

/* Write the film; *path, valid until close, is where to. ERR_IO, ERR_NOMEM. */
int record_save(struct record *r, const char **path);

#endif
