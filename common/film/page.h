/* SPDX-License-Identifier: Apache-2.0 */
/* page.h - page.html as the build embeds it; "@FILM@" in it stands for the JSON of a film. */
#ifndef FILM_PAGE_H
#define FILM_PAGE_H

extern const char film_page[];

#endif
