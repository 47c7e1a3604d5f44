/* io/listener.c: what the kernel was told of a listening socket. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* after those */
#include <cmocka.h>

#include "base/error.h"
#include "io/io.h"

#define NAME_BYTES 16

/* The congestion control of the listening socket that is bound to the port: found among our descriptors,
 * since the contract hands out none. */
static void congestion_of(uint16_t port, char name[NAME_BYTES])
{
    for (int fd = 0; fd < 256; fd++) {
        struct sockaddr_in address;
        socklen_t len = sizeof address, name_len = NAME_BYTES;
        if (getsockname(fd, (struct sockaddr *)&address, &len) == 0 && address.sin_family == AF_INET &&
            ntohs(address.sin_port) == port) {
            assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &name_len), 0);
            return;
        }
    }
    fail_msg("no socket is bound to port %u", port);
}

static void machines_default(char name[NAME_BYTES])
{
    socklen_t len = NAME_BYTES;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
    close(fd);
}

static void expect_congestion(const char *host, const char *expected)
{
    struct io *io;
    struct io_loop *loop;
    struct io_report report;
    struct io_address address;
    struct io_handle listener;
    char name[NAME_BYTES] = "";
    assert_int_equal(io_create(&io, &(struct io_config){.choice = IO_PORTABLE}, &report), 0);
    assert_int_equal(io_loop_create(io, &loop), 0);
    assert_int_equal(io_address_parse(&address, host, 0), 0);
    assert_int_equal(io_listen(io, &address, NULL, &listener), 0);
    assert_int_equal(io_local_address(loop, listener, &address), 0);
    congestion_of(io_address_port(&address), name);
    assert_string_equal(name, expected);
    io_listener_close(io, listener);
    assert_int_equal(io_loop_destroy(loop, 0), 0);
    assert_int_equal(io_destroy(io), 0);
}

static void test_loopback_is_not_paced(void **state)
{
    (void)state;
    expect_congestion("127.0.0.1", "reno");
}

static void test_elsewhere_the_machine_decides(void **state)
{
    char name[NAME_BYTES] = "";
    (void)state;
    machines_default(name);
    expect_congestion("0.0.0.0", name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback_is_not_paced),
        cmocka_unit_test(test_elsewhere_the_machine_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
