// One pool of threads for all kernels.
//
// The caller publishes a job (a task and how often to do it) and takes part in it. Whoever is free takes the next index,
// first of its own share of them and then of the others', so a thread that the system has suspended holds up no more than the
// one task it is in. Between jobs a worker watches the job number for as long as Python may take between two kernels or two
// calls of a program, because waking it takes as long as a small kernel, and then sleeps. When it has watched for a while, it
// lets others have the processor if they want it.

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

typedef void (*Task)(void *argument, long index);

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

enum { ALONE_NS = 100000, PATIENCE_NS = 400000, LOOKS = 64, MOST_THREADS = 1024 };

static int threads = 1;                          // that take part in a job, the caller included
static int workers = 0;                          // that have been started; they are `threads - 1` from the first job on
static pthread_t handles[MOST_THREADS];
static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;  // held by the one caller whose job is being done
static pthread_mutex_t bed = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t alarm_clock = PTHREAD_COND_INITIALIZER;
static atomic_int sleeping, inside, stopping, open_for_work;
static atomic_ulong job_number;
static struct { Task task; void *argument; long count; } job;
static struct { atomic_long next; char apart[64 - sizeof(atomic_long)]; } shares[MOST_THREADS];
static unsigned long begun_at[MOST_THREADS];     // the number of the job before a worker's first
static _Thread_local int in_job;                 // a task that calls a kernel does its tasks itself

static long share_begin(long share) { return job.count * share / threads; }

// Everybody begins with a share of its own, the same one of every job, so that it finds in its caches what it has left there.
static void take_part(long own) {
    for (long k = 0; k < threads; k++) {
        long share = (own + k) % threads, end = share_begin(share + 1);
        for (long i; (i = atomic_fetch_add(&shares[share].next, 1)) < end;) job.task(job.argument, i);
    }
}

static void announce(void) {
    atomic_fetch_add(&job_number, 1);
    if (atomic_load(&sleeping)) {
        pthread_mutex_lock(&bed);
        pthread_cond_broadcast(&alarm_clock);
        pthread_mutex_unlock(&bed);
    }
}

static long long nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

// Returns the number of a job that this worker has not seen.
static unsigned long next_job(unsigned long seen) {
    for (long long begun = 0, now = 0; now - begun < PATIENCE_NS; begun = begun ? begun : now) {
        for (int i = 0; i < LOOKS; i++) {
            unsigned long number = atomic_load(&job_number);
            if (number != seen) return number;
            PAUSE();
        }
        now = nanoseconds();
        if (begun && now - begun > ALONE_NS) sched_yield();
    }
    pthread_mutex_lock(&bed);
    atomic_fetch_add(&sleeping, 1);
    while (atomic_load(&job_number) == seen) pthread_cond_wait(&alarm_clock, &bed);
    atomic_fetch_sub(&sleeping, 1);
    pthread_mutex_unlock(&bed);
    return atomic_load(&job_number);
}

static void *work(void *begun) {
    unsigned long seen = *(unsigned long *)begun;
    long own = (unsigned long *)begun - begun_at + 1;
    in_job = 1;
    while (1) {
        seen = next_job(seen);
        if (atomic_load(&stopping)) return NULL;
        // Inside first, then a look whether the job is still open: the caller closes it first and then waits until
        // nobody is inside, so that one of the two sees the other.
        atomic_fetch_add(&inside, 1);
        if (atomic_load(&open_for_work)) take_part(own);
        atomic_fetch_sub(&inside, 1);
    }
}

static void stop_workers(void) {
    atomic_store(&stopping, 1);
    announce();
    for (int i = 0; i < workers; i++) pthread_join(handles[i], NULL);
    atomic_store(&stopping, 0);
    workers = 0;
}

static void start_workers(void) {
    sigset_t all, before;  // signals belong to the threads of the program
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    unsigned long seen = atomic_load(&job_number);
    for (; workers < threads - 1; workers++) {
        begun_at[workers] = seen;
        if (pthread_create(&handles[workers], NULL, work, &begun_at[workers])) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void pool_run(Task task, void *argument, long count) {
    // Alone, too, where another thread of the program is at it: both would only wait for the same processors.
    if (count <= 1 || threads <= 1 || in_job || pthread_mutex_trylock(&busy)) {
        for (long i = 0; i < count; i++) task(argument, i);
        return;
    }
    if (workers < threads - 1) start_workers();
    job.task = task;
    job.argument = argument;
    job.count = count;
    for (long share = 0; share < threads; share++) atomic_store(&shares[share].next, share_begin(share));
    atomic_store(&open_for_work, 1);
    announce();
    in_job = 1;
    take_part(0);
    in_job = 0;
    atomic_store(&open_for_work, 0);
    for (int i = 0; atomic_load(&inside); i++) {
        PAUSE();
        if (i > 32 * LOOKS) sched_yield();  // the worker may be waiting for this very processor
    }
    pthread_mutex_unlock(&busy);
}

void pool_set_threads(int number) {
    number = number < 1 ? 1 : number > MOST_THREADS ? MOST_THREADS : number;
    pthread_mutex_lock(&busy);
    if (workers > number - 1) stop_workers();
    threads = number;
    pthread_mutex_unlock(&busy);
}

void pool_stop(void) {
    pthread_mutex_lock(&busy);
    stop_workers();
    pthread_mutex_unlock(&busy);
}

// A process that was forked has only the thread that forked it; it starts workers of its own with its first job.
static void in_child(void) {
    workers = 0;
    pthread_mutex_init(&busy, NULL);
    pthread_mutex_init(&bed, NULL);
    pthread_cond_init(&alarm_clock, NULL);
    atomic_store(&sleeping, 0);
    atomic_store(&inside, 0);
    atomic_store(&stopping, 0);
    atomic_store(&open_for_work, 0);
    in_job = 0;
}

__attribute__((constructor)) static void on_load(void) { pthread_atfork(NULL, NULL, in_child); }
