/* SPDX-License-Identifier: Apache-2.0 */
/* lambda_return.h - bootstrapped returns over imagined rollouts (mag.md 10). */
#ifndef RL_LAMBDA_RETURN_H
#define RL_LAMBDA_RETURN_H

#include <stddef.h>

/*   ret[t] = reward[t] + gamma*cont[t]*((1-lambda)*value[t+1] + lambda*ret[t+1]),
 *   ret[T] = value[T]
 *
 *   reward [T][S]       shared by the agents of a start state
 *   cont   [T][S][N]    P(not terminal), 0..1
 *   value  [T+1][S][N]  critic, row T bootstraps
 *   ret    [T+1][S][N]  out, fully written
 *
 * gamma and lambda are per environment step, in [0,1]. No aliasing. Cannot fail. */
void lambda_return_forward(float *restrict ret, const float *restrict reward,
                           const float *restrict cont, const float *restrict value, size_t T,
                           size_t S, size_t N, float gamma, float lambda);

#endif
