/* Loaded into a program before the C library: the host's clock, as that program sees it, is off by as many seconds
   as the file that HOST_CLOCK names says. The monotonic clock stays true, as it does when a real clock is set.

   A wait until a time of day ends when the shifted clock gets there, so a clock that is set back makes a wait that is
   under way longer, as the kernel does. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    const char *path = getenv("HOST_CLOCK");
    FILE *file = path ? fopen(path, "r") : NULL;
    long seconds = 0;
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int timespec_get(struct timespec *time, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}

time_t time(time_t *result) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

/* Waits in short steps until the shifted clock gets to `until`; `wait` waits by the real one. Returns what `wait` does. */
static int wait_by_shown_clock(int (*wait)(void *, void *, const struct timespec *), int timed_out, void *condition,
                               void *mutex, const struct timespec *until) {
    const long step = 20 * 1000 * 1000;
    for (;;) {
        struct timespec shown, real;
        clock_gettime(CLOCK_REALTIME, &shown);
        if (shown.tv_sec > until->tv_sec || (shown.tv_sec == until->tv_sec && shown.tv_nsec >= until->tv_nsec))
            return timed_out;
        long left = step;
        if (until->tv_sec - shown.tv_sec <= 1) {
            long exactly = (until->tv_sec - shown.tv_sec) * 1000000000L + until->tv_nsec - shown.tv_nsec;
            if (exactly < step) left = exactly;
        }
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
        real.tv_nsec += left;
        if (real.tv_nsec >= 1000000000L) {
            real.tv_nsec -= 1000000000L;
            real.tv_sec += 1;
        }
        int result = wait(condition, mutex, &real);
        if (result != timed_out) return result;
    }
}

typedef int (*wait_by_real_clock)(void *, void *, const struct timespec *);

/* Without a version some C libraries hand out the oldest function of that name. */
static wait_by_real_clock real_function(const char *name, const char *version) {
    void *found = dlvsym(RTLD_NEXT, name, version);
    return (wait_by_real_clock)(found ? found : dlsym(RTLD_NEXT, name));
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static wait_by_real_clock wait;
    if (!wait) wait = real_function("pthread_cond_timedwait", "GLIBC_2.3.2");
    return wait_by_shown_clock(wait, ETIMEDOUT, condition, mutex, until);
}

/* The wait of C11, which does not call the one above. */
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    static wait_by_real_clock wait;
    if (!wait) wait = real_function("cnd_timedwait", "GLIBC_2.28");
    return wait_by_shown_clock(wait, thrd_timedout, condition, mutex, until);
}
