/* Numeric addresses and their text. Names are resolved above this layer (or by libcurl). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "io/core.h"

int io_address_parse(struct io_address *address, const char *host, uint16_t port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;
    *address = (struct io_address){0};
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address->len = sizeof *v4;
        return 0;
    }
    *address = (struct io_address){0};
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        address->len = sizeof *v6;
        return 0;
    }
    *address = (struct io_address){0};
    return -EINVAL;
}

void io_address_format(const struct io_address *address, char *text)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;
    char host[INET6_ADDRSTRLEN];
    static_assert(INET6_ADDRSTRLEN + sizeof "[]:65535" <= IO_ADDRESS_TEXT, "the longest text fits");
    if (address->storage.ss_family == AF_INET && inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host) != NULL)
        snprintf(text, IO_ADDRESS_TEXT, "%s:%u", host, io_address_port(address));
    else if (address->storage.ss_family == AF_INET6 &&
             inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host) != NULL)
        snprintf(text, IO_ADDRESS_TEXT, "[%s]:%u", host, io_address_port(address));
    else
        snprintf(text, IO_ADDRESS_TEXT, "%s", address->storage.ss_family == AF_UNIX ? "unix" : "?");
}

uint16_t io_address_port(const struct io_address *address)
{
    if (address->storage.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&address->storage)->sin_port);
    if (address->storage.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address->storage)->sin6_port);
    return 0;
}

bool io_address_is_loopback(const struct io_address *address)
{
    if (address->storage.ss_family == AF_INET) {
        uint32_t v4 = ntohl(((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr);
        return v4 >> 24 == 127;
    }
    if (address->storage.ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&address->storage)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    }
    return address->storage.ss_family == AF_UNIX;
}
