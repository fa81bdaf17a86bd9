/* A small libnvidia-ml.so.1 of one GPU, for tests without one. Compile with
 * -DINIT_STATUS=n (nvmlReturn_t), -DHANG or -DCRASH to make it fail as real ones do; with -DCOUNT=n
 * for more GPUs, -DCOUNT_STATUS=n to make counting them fail, -DNO_HANDLE=i for one that gives no
 * handle, -DLOST=i for one that is lost with its handle at hand.
 *
 * What state its GPUs are in is described by the file that FAKE_NVML names: lines of a GPU's index,
 * the name of a state (those that `state` is asked for below) and its value, or `!` and the
 * nvmlReturn_t with which NVML refuses it. What the file does not name is not supported (3). */
#include <stdio.h>
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

/* --- states, from the file --- */

#define NOT_SUPPORTED 3

static int state(void *device, const char *name, unsigned long long *value)
{
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char found[64], text[64];
    long index;
    int status = NOT_SUPPORTED;
    while (file && fscanf(file, "%ld %63s %63s", &index, found, text) == 3) {
        if (index != (long)device - 1 || strcmp(found, name))
            continue;
        status = text[0] == '!' ? atoi(text + 1) : 0;
        *value = text[0] == '!' ? 0 : strtoull(text, NULL, 10);
    }
    if (file)
        fclose(file);
    return status;
}

static int state_of_32_bits(void *device, const char *name, unsigned int *out)
{
    unsigned long long value = 0;
    int status = state(device, name, &value);
    *out = (unsigned int)value;
    return status;
}

int nvmlDeviceGetComputeMode(void *device, unsigned int *mode) { return state_of_32_bits(device, "compute_mode", mode); }
int nvmlDeviceGetPersistenceMode(void *device, unsigned int *mode) { return state_of_32_bits(device, "persistence_mode", mode); }
int nvmlDeviceGetRetiredPagesPendingStatus(void *device, unsigned int *pending) { return state_of_32_bits(device, "pages_pending", pending); }
int nvmlDeviceGetVirtualizationMode(void *device, unsigned int *mode) { return state_of_32_bits(device, "virtualization", mode); }
int nvmlDeviceGetTotalEccErrors(void *device, int kind, int counter, unsigned long long *count)
{
    /* Uncorrected and volatile. */
    return state(device, kind == 1 && counter == 0 ? "ecc_uncorrected" : "another", count);
}
int nvmlDeviceGetRemappedRows(void *device, unsigned int *corrected, unsigned int *uncorrected, unsigned int *pending, unsigned int *failed)
{
    int status = state_of_32_bits(device, "rows_pending", pending);
    *corrected = *uncorrected = 0;
    return status ? status : state_of_32_bits(device, "rows_failed", failed);
}
int nvmlDeviceGetMigMode(void *device, unsigned int *current, unsigned int *pending)
{
    int status = state_of_32_bits(device, "mig_mode", current);
    return status ? status : state_of_32_bits(device, "mig_pending", pending);
}
int nvmlDeviceGetBAR1MemoryInfo(void *device, memory_t *memory)
{
    unsigned long long total = 0;
    int status = state(device, "bar1_bytes", &total);
    memory->total = memory->free = total;
    memory->used = 0;
    return status;
}

typedef struct { unsigned char uuid[16]; int status; unsigned int clique; unsigned char state; } fabric_t;
int nvmlDeviceGetGpuFabricInfo(void *device, fabric_t *info)
{
    unsigned int now = 0, ended = 0;
    int status = state_of_32_bits(device, "fabric_state", &now);
    memset(info, 0, sizeof *info);
    state_of_32_bits(device, "fabric_status", &ended);
    info->state = (unsigned char)now;
    info->status = (int)ended;
    return status;
}

typedef struct { unsigned int year; unsigned short month, day, hour, min, sec; unsigned char status; } expiry_t;
typedef struct { unsigned int code, state; char info[128], product[128]; unsigned int enabled; expiry_t expiry; } feature_t;
typedef struct { int supported; unsigned int count; feature_t features[3]; } features_t;
int nvmlDeviceGetGridLicensableFeatures_v4(void *device, features_t *out)
{
    unsigned int licensed = 0;
    int status = state_of_32_bits(device, "licensed", &licensed);
    memset(out, 0, sizeof *out);
    out->supported = 1;
    out->count = 1;
    out->features[0].state = licensed;
    return status;
}

int nvmlShutdown(void) { return 0; }
