/* A small libnvidia-ml.so.1 of one GPU, for tests without one. Compile with
 * -DINIT_STATUS=n (nvmlReturn_t), -DHANG or -DCRASH to make it fail as real ones do. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef INIT_STATUS
#define INIT_STATUS 0
#endif

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
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetName(void *device, char *out, unsigned int length) { (void)device; return text(out, length, "NVIDIA A100-SXM4-80GB"); }
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
