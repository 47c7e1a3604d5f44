/* For LD_PRELOAD: "moving.test" is the address that the file MOVING_NAME holds. The rest is looked up as
 * ever. */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("MOVING_NAME");
    char address[64] = "";
    if (path != NULL && node != NULL && strcmp(node, "moving.test") == 0) {
        FILE *file = fopen(path, "r");
        if (file == NULL || fgets(address, sizeof address, file) == NULL)
            return EAI_AGAIN;
        fclose(file);
        node = address;
    }
    return real(node, service, hints, found);
}
