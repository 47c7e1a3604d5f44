#include "app/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static sigset_t signal_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

void signals_block(void)
{
    sigset_t set = signal_set();
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

void signals_wait(struct log *log)
{
    sigset_t set = signal_set();
    for (;;) {
        int number = 0;
        if (sigwait(&set, &number) != 0)
            continue;
        if (number != SIGHUP) {
            log_text(log, LOG_INFO, "signals", "%s: finishing what runs; a second signal ends at once",
                number == SIGTERM ? "SIGTERM" : "SIGINT");
            return;
        }
        log_text(log, LOG_WARN, "signals", "SIGHUP is ignored: reload is not built yet");
    }
}

/* No log line: the log may be gone by now. */
static void *wait_for_second(void *argument)
{
    (void)argument;
    sigset_t set = signal_set();
    int number = SIGHUP;
    while (sigwait(&set, &number) != 0 || number == SIGHUP)
        continue;
    /* Its default: whoever waits for the process sees which signal it was. */
    sigemptyset(&set);
    sigaddset(&set, number);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    _exit(1);
}

void signals_arm(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_second, NULL) == 0)
        pthread_detach(thread);
}
