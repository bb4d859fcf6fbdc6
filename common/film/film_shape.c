/* SPDX-License-Identifier: Apache-2.0 */
/* film_shape.c - one outline per kind of units, for the page and the strip alike. */
#include "film/film.h"

#include <string.h>

static const struct {
    const char *kind, *path;
} shapes[] = {
    /* people: a disc with a barrel */
    {"marine", "M.66 .3A.72 .72 0 1 1 .66 -.3L1.15 -.16V.16Z"},
    {"marauder", "M.5 -.8L.92 -.55V.55L.5 .8H-.5L-.9 .4V-.4L-.5 -.8Z"},
    {"medivac", "M1 0L.3 .3V.95H-.3V.4L-.95 .5V-.5L-.3 -.4V-.95H.3V-.3Z"},
    /* machines of the Protoss: points and blades */
    {"stalker", "M1 0L.25 .3L.45 1L-.35 .5L-.95 .7L-.6 0L-.95 -.7L-.35 -.5L.45 -1L.25 -.3Z"},
    {"zealot", "M.75 0L.15 .45L.95 .85L-.3 .8L-.8 .3V-.3L-.3 -.8L.95 -.85L.15 -.45Z"},
    {"colossus",
     "M.55 0L.3 .3L1 1L.05 .5H-.05L-1 1L-.5 .2V-.2L-1 -1L-.05 -.5H.05L1 -1L.3 -.3Z"},
    /* animals: tails and mandibles */
    {"hydralisk",
     "M1 0Q.55 .75 -.1 .55L-.35 .95L-.5 .4L-1.1 0L-.5 -.4L-.35 -.95L-.1 -.55Q.55 -.75 1 0Z"},
    {"zergling", "M.6 0L1.1 .5L.2 .6L-1 .35L-.7 0L-1 -.35L.2 -.6L1.1 -.5Z"},
    {"baneling", "M1 0L.71 .3L.71 .71L.3 .71L0 1L-.3 .71L-.71 .71L-.71 .3L-1 0L-.71 -.3L-.71 "
                 "-.71L-.3 -.71L0 -1L.3 -.71L.71 -.71L.71 -.3Z"},
    {"spine_crawler", "M1.2 0L.35 .25L.7 .7L.2 .55L0 1L-.25 .55L-.7 .7L-.55 .2L-1 0L-.55 "
                      "-.2L-.7 -.7L-.25 -.55L0 -1L.2 -.55L.7 -.7L.35 -.25Z"},
};

const char *film_shape(const char *kind)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (!strcmp(shapes[i].kind, kind))
            return shapes[i].path;
    return "M.95 0L-.55 .8L-.25 0L-.55 -.8Z"; /* an arrow head */
}
