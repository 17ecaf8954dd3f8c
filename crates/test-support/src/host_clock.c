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

typedef int (*timed_wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static timed_wait wait;
    if (!wait) {
        /* Without a version some C libraries hand out the oldest one. */
        wait = (timed_wait)dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (!wait) wait = (timed_wait)dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    }
    const long step = 20 * 1000 * 1000;
    for (;;) {
        struct timespec shown, real;
        clock_gettime(CLOCK_REALTIME, &shown);
        if (shown.tv_sec > until->tv_sec || (shown.tv_sec == until->tv_sec && shown.tv_nsec >= until->tv_nsec))
            return ETIMEDOUT;
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
        if (result != ETIMEDOUT) return result;
    }
}
