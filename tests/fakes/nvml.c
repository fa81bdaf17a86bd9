/* A small libnvidia-ml.so.1 of one GPU, for tests without one. Compile with
 * -DINIT_STATUS=n (nvmlReturn_t), -DHANG or -DCRASH to make it fail as real ones do; with -DCOUNT=n
 * for more GPUs, -DCOUNT_STATUS=n to make counting them fail, -DNO_HANDLE=i for one that gives no
 * handle, -DLOST=i for one that is lost with its handle at hand. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef INIT_STATUS
#define INIT_STATUS 0
#endif

#ifndef COUNT
#define COUNT 1
#endif
#ifndef COUNT_STATUS
#define COUNT_STATUS 0
#endif
#ifndef NO_HANDLE
#define NO_HANDLE -1
#endif
#ifndef LOST
#define LOST -1
#endif

typedef struct { unsigned int pid; unsigned long long memory; unsigned int gpu, instance; } process_t;
typedef struct { unsigned long long total, free, used; } memory_t;

int nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
#ifdef HANG
    for (;;) pause();
#endif
#ifdef CRASH
    abort();
#endif
    return INIT_STATUS;
}

const char *nvmlErrorString(int status)
{
    return status == 18 ? "Driver/library version mismatch" : "another error";
}

static int text(char *out, unsigned int length, const char *value)
{
    strncpy(out, value, length);
    return 0;
}

int nvmlSystemGetDriverVersion(char *out, unsigned int length) { return text(out, length, "535.183.01"); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12020; return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = COUNT; return COUNT_STATUS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device)
{
    *device = (void *)(long)(index + 1);
    return (int)index == NO_HANDLE ? 15 : 0;
}
int nvmlDeviceGetName(void *device, char *out, unsigned int length)
{
    if ((long)device == LOST + 1)
        return 15;
    return text(out, length, "NVIDIA A100-SXM4-80GB");
}
/* The process that asks, the one that started it, and one that is neither. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, process_t *out)
{
    (void)device;
    if (*count < 3) {
        *count = 3;
        return 7;
    }
    *count = 3;
    out[0].pid = getpid();
    out[1].pid = getppid();
    out[2].pid = 1;
    return 0;
}
int nvmlDeviceGetUUID(void *device, char *out, unsigned int length) { (void)device; return text(out, length, "GPU-fake"); }
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory)
{
    (void)device;
    memory->total = 85899345920ULL;
    memory->used = 1024;
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { (void)device; *major = 8; *minor = 0; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned int *milliwatts) { (void)device; *milliwatts = 400000; return 0; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits) { (void)device; *bits = 0x4; return 0; }
int nvmlShutdown(void) { return 0; }
