/* Runs a command with io_uring forbidden, with the errno that Docker's and containerd's profiles give:
 * `without_uring COMMAND ...`. 77 where there is no seccomp. */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <unistd.h>

#include "forbid.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: without_uring COMMAND ...\n");
        return 2;
    }
    if (!forbid_uring(SECCOMP_RET_ERRNO | EPERM)) {
        perror("seccomp");
        return 77;
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 127;
}
