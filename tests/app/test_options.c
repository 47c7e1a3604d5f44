/* Command lines and what is made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/options.h"

struct options_case {
    const char *arguments[5];
    const char *env;
    const char *message; /* or NULL: right, and then */
    enum options_action action;
    const char *file;
    bool io_given;
    enum io_choice io;
};

static void test_command_lines(void **state)
{
    (void)state;
    static const struct options_case table[] = {
        {{0}, NULL, NULL, OPTIONS_RUN, "config.yaml", false, IO_AUTO},
        {{"-c", "x"}, NULL, NULL, OPTIONS_RUN, "x", false, IO_AUTO},
        {{"--config", "x"}, NULL, NULL, OPTIONS_RUN, "x", false, IO_AUTO},
        {{"--config=x", "--test"}, NULL, NULL, OPTIONS_TEST, "x", false, IO_AUTO},
        {{"--version"}, NULL, NULL, OPTIONS_VERSION, "config.yaml", false, IO_AUTO},
        {{"--help"}, NULL, NULL, OPTIONS_HELP, "config.yaml", false, IO_AUTO},
        {{"--io", "uring"}, NULL, NULL, OPTIONS_RUN, "config.yaml", true, IO_URING},
        {{"--io=portable"}, "uring", NULL, OPTIONS_RUN, "config.yaml", true, IO_PORTABLE},
        {{0}, "uring", NULL, OPTIONS_RUN, "config.yaml", true, IO_URING},
        {{0}, "", NULL, OPTIONS_RUN, "config.yaml", false, IO_AUTO},
        {{0}, "epoll", "YATAGARASU_IO: expected auto, uring or portable: epoll", 0, NULL, false, 0},
        {{"--io", "fake"}, NULL, "--io: expected auto, uring or portable: fake", 0, NULL, false, 0},
        {{"--io"}, NULL, "expected a value after: --io", 0, NULL, false, 0},
        {{"-c"}, NULL, "expected a value after: -c", 0, NULL, false, 0},
        {{"-d"}, NULL, "not built: let the service manager run it in the background: -d", 0, NULL, false, 0},
        {{"--daemon"}, NULL, "not built: let the service manager run it in the background: --daemon", 0, NULL,
            false, 0},
        {{"--upgrade"}, NULL, "not built yet: --upgrade", 0, NULL, false, 0},
        {{"config.yaml"}, NULL, "unknown argument: config.yaml", 0, NULL, false, 0},
        {{"--testing"}, NULL, "unknown argument: --testing", 0, NULL, false, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *argv[7] = {(char *)(uintptr_t) "yatagarasu"};
        int argc = 1;
        while (argc < 6 && table[i].arguments[argc - 1]) {
            argv[argc] = (char *)(uintptr_t)table[i].arguments[argc - 1];
            argc++;
        }
        struct options options;
        char message[OPTIONS_MESSAGE_MAX] = "";
        bool right = options_parse(argc, argv, table[i].env, &options, message);
        assert_string_equal(message, table[i].message ? table[i].message : "");
        assert_int_equal(right, table[i].message == NULL);
        if (!right)
            continue;
        assert_int_equal(options.action, table[i].action);
        assert_string_equal(options.config_file, table[i].file);
        assert_int_equal(options.io_given, table[i].io_given);
        if (options.io_given)
            assert_int_equal(options.io, table[i].io);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_command_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
