/* SPDX-License-Identifier: Apache-2.0 */
/* lambda_return.c - one backward sweep over time; every agent of every start on its own. */
#include "rl/lambda_return.h"

#include <string.h>

/* Source: MAMBA's imagined returns; Hafner et al., arXiv 2010.02193 section 2.2, with the
 * continuation head in place of a fixed end. Tests: tests/unit/rl/test_lambda_return.c. */
void lambda_return_forward(float *restrict ret, const float *restrict reward,
                           const float *restrict cont, const float *restrict value, size_t T,
                           size_t S, size_t N, float gamma, float lambda)
{
    const size_t row = S * N;
    memcpy(ret + T * row, value + T * row, row * sizeof *ret);
    for (size_t t = T; t-- > 0;)
        for (size_t i = 0; i < row; i++) {
            const size_t at = t * row + i;
            const float boot = (1 - lambda) * value[at + row] + lambda * ret[at + row];
            ret[at] = reward[t * S + i / N] + gamma * cont[at] * boot;
        }
}
