/* Forbids io_uring to this process and its children by a seccomp filter, as container run-times do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What io_uring's three calls do from now on: SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_KILL_PROCESS ... False:
 * this machine has no seccomp. */
bool forbid_uring(uint32_t action);
