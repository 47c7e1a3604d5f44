#include "app/options.h"

#include <stdio.h>
#include <string.h>

const char options_usage[] =
    "usage: yatagarasu [-c FILE] [--io auto|uring|portable]\n"
    "       yatagarasu cache COMMAND   purge, prewarm and look into a running one: yatagarasu cache --help\n"
    "\n"
    "  -c, --config FILE  the configuration (default: config.yaml)\n"
    "      --test         check the configuration, say all that is wrong with it, and end\n"
    "      --io DRIVER    auto, uring or portable: before YATAGARASU_IO and the configuration\n"
    "      --version      print the version and end\n"
    "      --help         print this and end\n"
    "\n"
    "SIGTERM and SIGINT end it: what runs is finished within server.shutdown_timeout; a second one ends it "
    "at once.\n";

struct options_parser {
    int argc, at;
    char *const *argv;
    struct options *options;
    char *message;
};

static bool fail(struct options_parser *parser, const char *what, const char *argument)
{
    (void)snprintf(
        parser->message, OPTIONS_MESSAGE_MAX, "%s%s%.150s", what, argument[0] ? ": " : "", argument);
    return false;
}

static bool parse_io(struct options_parser *parser, const char *name, const char *from)
{
    static const struct {
        const char *name;
        enum io_choice choice;
    } choices[] = {{"auto", IO_AUTO}, {"uring", IO_URING}, {"portable", IO_PORTABLE}};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (strcmp(name, choices[i].name) == 0) {
            parser->options->io = choices[i].choice;
            parser->options->io_given = true;
            return true;
        }
    char what[100];
    (void)snprintf(what, sizeof what, "%s: expected auto, uring or portable", from);
    return fail(parser, what, name);
}

/* The value of "--name=value" or of "--name value"; NULL: reported. */
static const char *take_value(struct options_parser *parser, size_t name_len)
{
    const char *argument = parser->argv[parser->at];
    if (argument[name_len] == '=')
        return argument + name_len + 1;
    if (parser->at + 1 >= parser->argc) {
        (void)fail(parser, "expected a value after", argument);
        return NULL;
    }
    return parser->argv[++parser->at];
}

static bool is_option(const char *argument, const char *name)
{
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 && (argument[len] == 0 || argument[len] == '=');
}

static bool parse_one(struct options_parser *parser)
{
    const char *argument = parser->argv[parser->at];
    struct options *options = parser->options;
    if (strcmp(argument, "-d") == 0 || strcmp(argument, "--daemon") == 0)
        return fail(parser, "not built: let the service manager run it in the background", argument);
    if (strcmp(argument, "--upgrade") == 0)
        return fail(parser, "not built yet", argument);
    if (strcmp(argument, "--test") == 0 || strcmp(argument, "-t") == 0)
        options->action = OPTIONS_TEST;
    else if (strcmp(argument, "--version") == 0 || strcmp(argument, "-V") == 0)
        options->action = OPTIONS_VERSION;
    else if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
        options->action = OPTIONS_HELP;
    else if (strcmp(argument, "-c") == 0 || is_option(argument, "--config"))
        return (options->config_file = take_value(parser, argument[1] == '-' ? 8 : 2)) != NULL;
    else if (is_option(argument, "--io")) {
        const char *name = take_value(parser, 4);
        return name != NULL && parse_io(parser, name, "--io");
    } else
        return fail(parser, "unknown argument", argument);
    return true;
}

bool options_parse(int argc, char *const argv[], const char *env_io, struct options *options,
    char message[OPTIONS_MESSAGE_MAX])
{
    *options = (struct options){.config_file = "config.yaml"};
    struct options_parser parser = {.argc = argc, .argv = argv, .options = options, .message = message};
    if (env_io && env_io[0] && !parse_io(&parser, env_io, "YATAGARASU_IO"))
        return false;
    for (parser.at = 1; parser.at < argc; parser.at++)
        if (!parse_one(&parser))
            return false;
    return true;
}
