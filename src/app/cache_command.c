#include "app/cache_command.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

const char cache_command_usage[] =
    "usage: yatagarasu cache COMMAND [options]\n"
    "\n"
    "  stats [BUCKET]                 what the cache does, as JSON\n"
    "  info BUCKET KEY                what is stored of one object, as JSON\n"
    "  purge BUCKET KEY               take out one object, with all its versions and variants\n"
    "  purge [BUCKET] --prefix TEXT   ... all objects whose keys begin so\n"
    "  purge [BUCKET] --tag TAG       ... all objects with this tag\n"
    "  purge [BUCKET] --all           ... the whole bucket; without BUCKET: everything\n"
    "      --soft                     make stale instead: the next request asks the origin\n"
    "      --host HOST                of a generic HTTP origin, with KEY: the host that clients name\n"
    "      --query QUERY              ... and, for info and purge, what stands behind ?\n"
    "  prewarm BUCKET KEY...          bring objects into the cache; Ctrl-C cancels\n"
    "  prewarm BUCKET --prefix TEXT   ... all objects whose keys begin so (--all: all)\n"
    "      --concurrency N            objects at a time (default 4, at most 64)\n"
    "      --rate N                   objects a second at most (default 100)\n"
    "      --detach                   print the job's number and don't wait\n"
    "  jobs [NUMBER]                  prewarm jobs, or one of them, as JSON\n"
    "  cancel NUMBER                  cancel a prewarm job\n"
    "\n"
    "The server's admin listener, the first that says:\n"
    "      --address HOST:PORT, --token TOKEN    (a token here can be seen by all who list processes)\n"
    "      YATAGARASU_ADMIN, YATAGARASU_ADMIN_TOKEN in the environment\n"
    "  -c, --config FILE              admin.address, admin.port and admin.token of it\n"
    "else 127.0.0.1:9090 without a token.\n"
    "\n"
    "Status: 0 done; 1 refused, failed, or objects failed; 2 wrong arguments; 3 no answer from the server.\n";

struct parser {
    int argc, at, words; /* words: what is no option, moved to argv[1...] */
    char **argv;
    struct cache_command *command;
    char *message;
};

static bool fail(const struct parser *parser, const char *what, const char *argument)
{
    (void)snprintf(
        parser->message, CACHE_COMMAND_MESSAGE_MAX, "%s%s%.150s", what, argument[0] ? ": " : "", argument);
    return false;
}

/* ---- options ---- */

enum option_kind { OPTION_TEXT, OPTION_FLAG, OPTION_NUMBER };

struct option {
    const char *name;
    enum option_kind kind;
    unsigned actions; /* bits: those that have it */
    void *to;
    unsigned max;
};

#define EVERY_ACTION (~0u)

static bool take_number(const struct parser *parser, const struct option *option, const char *text)
{
    uint64_t number;
    char what[100];
    if (bytes_to_u64(bytes_of_string(text), &number) && number >= 1 && number <= option->max) {
        *(unsigned *)option->to = (unsigned)number;
        return true;
    }
    (void)snprintf(what, sizeof what, "%s: expected a number from 1 to %u", option->name, option->max);
    return fail(parser, what, text);
}

static bool take_option(struct parser *parser, const struct option *option)
{
    const char *argument = parser->argv[parser->at], *value;
    size_t len = strlen(option->name);
    if ((option->actions & 1u << parser->command->action) == 0)
        return fail(parser, "this command has no such option", option->name);
    if (option->kind == OPTION_FLAG) {
        *(bool *)option->to = true;
        return argument[len] == '\0' || fail(parser, "expected no value", argument);
    }
    if (argument[len] == '=')
        value = argument + len + 1;
    else if (parser->at + 1 < parser->argc)
        value = parser->argv[++parser->at];
    else
        return fail(parser, "expected a value after", argument);
    if (option->kind == OPTION_NUMBER)
        return take_number(parser, option, value);
    *(const char **)option->to = value;
    return true;
}

static bool is_option(const char *argument, const char *name)
{
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 && (argument[len] == '\0' || (len > 2 && argument[len] == '='));
}

static bool parse_option(struct parser *parser)
{
    struct cache_command *command = parser->command;
    const unsigned info = 1u << CACHE_INFO, purge = 1u << CACHE_PURGE, prewarm = 1u << CACHE_PREWARM;
    const struct option options[] = {
        {"-c", OPTION_TEXT, EVERY_ACTION, &command->config_file, 0},
        {"--config", OPTION_TEXT, EVERY_ACTION, &command->config_file, 0},
        {"--address", OPTION_TEXT, EVERY_ACTION, &command->address, 0},
        {"--token", OPTION_TEXT, EVERY_ACTION, &command->token, 0},
        {"--prefix", OPTION_TEXT, purge | prewarm, &command->prefix, 0},
        {"--tag", OPTION_TEXT, purge, &command->tag, 0},
        {"--host", OPTION_TEXT, info | purge | prewarm, &command->host, 0},
        {"--query", OPTION_TEXT, info | purge, &command->query, 0},
        {"--soft", OPTION_FLAG, purge, &command->soft, 0},
        {"--all", OPTION_FLAG, purge | prewarm, &command->all, 0},
        {"--detach", OPTION_FLAG, prewarm, &command->detach, 0},
        {"--concurrency", OPTION_NUMBER, prewarm, &command->concurrency, 64},
        {"--rate", OPTION_NUMBER, prewarm, &command->rate, 100000},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (is_option(parser->argv[parser->at], options[i].name))
            return take_option(parser, &options[i]);
    return fail(parser, "unknown option", parser->argv[parser->at]);
}

/* ---- words ---- */

/* What the action takes: at least `needed` words, at most `most` (-1: any). */
static bool check_words(const struct parser *parser, int needed, int most, const char *expected)
{
    if (parser->words >= needed && (most < 0 || parser->words <= most))
        return true;
    return fail(parser, "expected", expected);
}

static bool check_empty(const struct parser *parser)
{
    for (int i = 1; i <= parser->words; i++)
        if (parser->argv[i][0] == '\0')
            return fail(parser, "an argument is empty", "");
    return true;
}

static bool check_purge(struct parser *parser)
{
    const struct cache_command *command = parser->command;
    bool narrowed = command->prefix || command->tag;
    if (!check_words(parser, 0, 2, "at most a bucket and a key"))
        return false;
    if ((command->prefix && !command->prefix[0]) || (command->tag && !command->tag[0]))
        return fail(parser, "--prefix and --tag are not empty; --all is for all", "");
    if (command->key_count == 0 && (command->host || command->query))
        return fail(parser, "--host and --query are of a key", "");
    if (command->key_count > 0 && (narrowed || command->all))
        return fail(parser, "a key, or --prefix, --tag or --all, not both", "");
    if (command->all && narrowed)
        return fail(parser, "--all, or --prefix and --tag, not both", "");
    if (command->key_count > 0 || narrowed || command->all)
        return true;
    return command->bucket ? fail(parser, "this would purge the whole bucket; say --all if that is meant",
                                 command->bucket)
                           : fail(parser, "this would purge everything; say --all if that is meant", "");
}

static bool check_prewarm(struct parser *parser)
{
    const struct cache_command *command = parser->command;
    if (!check_words(parser, 1, -1, "a bucket"))
        return false;
    if ((command->key_count > 0) + (command->prefix != NULL) + command->all == 1)
        return true;
    return fail(parser, "expected keys, or --prefix, or --all", "");
}

static bool check_job(struct parser *parser)
{
    uint64_t number;
    const struct cache_command *command = parser->command;
    if (!check_words(parser, command->action == CACHE_CANCEL, 1, "the number of a job"))
        return false;
    return !command->job || bytes_to_u64(bytes_of_string(command->job), &number) ||
           fail(parser, "expected the number of a job", command->job);
}

/* With the mark it would be another query. */
static bool check_query(const struct parser *parser)
{
    const char *query = parser->command->query;
    return !query || query[0] != '?' ||
           fail(parser, "--query is what stands behind the question mark, without it", query);
}

static bool check(struct parser *parser)
{
    if (!check_empty(parser) || !check_query(parser))
        return false;
    switch (parser->command->action) {
    case CACHE_HELP:
        return true;
    case CACHE_STATS:
        return check_words(parser, 0, 1, "at most a bucket");
    case CACHE_INFO:
        return check_words(parser, 2, 2, "a bucket and a key");
    case CACHE_PURGE:
        return check_purge(parser);
    case CACHE_PREWARM:
        return check_prewarm(parser);
    case CACHE_JOBS:
    case CACHE_CANCEL:
        return check_job(parser);
    }
    UNREACHABLE();
}

/* ---- all ---- */

static bool find_action(const char *word, enum cache_action *action)
{
    static const struct {
        const char *word;
        enum cache_action action;
    } actions[] = {{"stats", CACHE_STATS}, {"info", CACHE_INFO}, {"purge", CACHE_PURGE},
        {"prewarm", CACHE_PREWARM}, {"jobs", CACHE_JOBS}, {"cancel", CACHE_CANCEL}, {"help", CACHE_HELP},
        {"--help", CACHE_HELP}, {"-h", CACHE_HELP}};
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(word, actions[i].word) == 0) {
            *action = actions[i].action;
            return true;
        }
    return false;
}

static void take_words(struct parser *parser)
{
    struct cache_command *command = parser->command;
    bool of_job = command->action == CACHE_JOBS || command->action == CACHE_CANCEL;
    const char *first = parser->words > 0 ? parser->argv[1] : NULL;
    command->job = of_job ? first : NULL;
    command->bucket = of_job ? NULL : first;
    command->keys = (const char *const *)parser->argv + 2;
    command->key_count = !of_job && parser->words > 1 ? parser->words - 1 : 0;
}

bool cache_command_parse(
    int argc, char *argv[], struct cache_command *command, char message[CACHE_COMMAND_MESSAGE_MAX])
{
    struct parser parser = {.argc = argc, .argv = argv, .command = command, .message = message};
    *command = (struct cache_command){.action = CACHE_HELP};
    if (argc < 2)
        return fail(&parser, "expected a command", "");
    if (!find_action(argv[1], &command->action))
        return fail(&parser, "unknown command", argv[1]);
    bool only_words = false; /* behind "--" */
    for (parser.at = 2; parser.at < argc; parser.at++) {
        char *argument = argv[parser.at];
        if (!only_words && strcmp(argument, "--") == 0)
            only_words = true;
        else if (!only_words && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0))
            command->action = CACHE_HELP;
        else if (only_words || argument[0] != '-')
            argv[++parser.words] = argument;
        else if (command->action != CACHE_HELP && !parse_option(&parser))
            return false;
    }
    take_words(&parser);
    return check(&parser);
}
