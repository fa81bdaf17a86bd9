/* A small libnvidia-ml.so.1 of one GPU, for tests without one. Compile with
 * -DINIT_STATUS=n (nvmlReturn_t), -DHANG or -DCRASH to make it fail as real ones do; with -DCOUNT=n
 * for more GPUs, -DCOUNT_STATUS=n to make counting them fail, -DNO_HANDLE=i for one that gives no
 * handle, -DLOST=i for one that is lost with its handle at hand.
 *
 * What state its GPUs are in is described by the file that FAKE_NVML names: lines of a GPU's index,
 * the name of a state (those that `state` is asked for below) and its value (a text has `~` for each
 * space), `!` and the nvmlReturn_t with which NVML refuses it, `hang` or `crash`. What is not named is as
 * of an A100 where every GPU has it, else not supported (3). -DWITHOUT_TEMPERATURE leaves a function
 * out, as an older driver does; -DWITHOUT_MEMORY_V2 is one from before 510. */
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
#define NOT_SUPPORTED 3

/* What the file says of a state: 0 and its text, or the status with which NVML refuses it. */
static int described(void *device, const char *name, char *out)
{
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char found[64], value[96];
    long index;
    int status = NOT_SUPPORTED;
    while (file && fscanf(file, "%ld %63s %95s", &index, found, value) == 3) {
        if (index != (long)device - 1 || strcmp(found, name))
            continue;
        while (!strcmp(value, "hang"))
            pause();
        if (!strcmp(value, "crash"))
            abort();
        status = value[0] == '!' ? atoi(value + 1) : 0;
        strcpy(out, value[0] == '!' ? "" : value);
    }
    if (file)
        fclose(file);
    return status;
}

static int state(void *device, const char *name, unsigned long long *value)
{
    char found[96] = "";
    int status = described(device, name, found);
    if (!status)
        *value = strtoull(found, NULL, 10);
    return status;
}

static int state_of_32_bits(void *device, const char *name, unsigned int *out)
{
    unsigned long long value = 0;
    int status = state(device, name, &value);
    *out = (unsigned int)value;
    return status;
}

/* What every GPU has: of the file, or of an A100. */
static unsigned long long number_or(void *device, const char *name, unsigned long long usual)
{
    return state(device, name, &usual), usual;
}

static int text_or(void *device, const char *name, const char *usual, char *out, unsigned int length)
{
    char found[96] = "";
    if (described(device, name, found))
        return text(out, length, usual);
    for (char *at = found; *at; at++)
        if (*at == '~')
            *at = ' ';
    return text(out, length, found);
}

int nvmlDeviceGetName(void *device, char *out, unsigned int length)
{
    if ((long)device == LOST + 1)
        return 15;
    return text_or(device, "name", "NVIDIA A100-SXM4-80GB", out, length);
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
int nvmlDeviceGetUUID(void *device, char *out, unsigned int length) { return text_or(device, "uuid", "GPU-fake", out, length); }

/* The first version counts what the driver keeps for itself as used, the second shows it apart. */
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2_t;
static int memory_of(void *device, memory_v2_t *memory)
{
    memory->total = number_or(device, "memory_bytes", 85899345920ULL);
    memory->reserved = number_or(device, "reserved_bytes", 0);
    memory->used = number_or(device, "memory_used_bytes", 1024);
    memory->free = memory->total - memory->reserved - memory->used;
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory)
{
    memory_v2_t all;
    memory_of(device, &all);
    memory->total = all.total;
    memory->free = all.free;
    memory->used = all.used + all.reserved;
    return 0;
}
#ifndef WITHOUT_MEMORY_V2
int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2_t *memory)
{
    /* NVML_STRUCT_VERSION(Memory, 2); it refuses another one (25). */
    return memory->version == (sizeof *memory | 2u << 24) ? memory_of(device, memory) : 25;
}
#endif

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor)
{
    unsigned long long both = number_or(device, "capability", 80);
    *major = (int)(both / 10);
    *minor = (int)(both % 10);
    return 0;
}
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned int *milliwatts)
{
    *milliwatts = (unsigned int)number_or(device, "power_limit_mw", 400000);
    return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits)
{
    *bits = number_or(device, "throttle_bits", 0x4);
    return 0;
}

/* --- states, from the file --- */

typedef struct { char legacy[16]; unsigned int domain, bus, device, id, subsystem; char bus_id[32]; } pci_t;
int nvmlDeviceGetPciInfo_v3(void *device, pci_t *pci)
{
    char found[96] = "";
    int status = described(device, "pci_bus_id", found);
    memset(pci, 0, sizeof *pci);
    strncpy(pci->bus_id, found, sizeof pci->bus_id - 1);
    return status;
}
typedef struct { unsigned int gpu, memory; } rates_t;
int nvmlDeviceGetUtilizationRates(void *device, rates_t *rates) { return state_of_32_bits(device, "utilization_pct", &rates->gpu); }
int nvmlDeviceGetEccMode(void *device, unsigned int *current, unsigned int *pending)
{
    *pending = 0;
    return state_of_32_bits(device, "ecc_mode", current);
}
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) { return state_of_32_bits(device, "power_mw", milliwatts); }
int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned int *milliwatts) { return state_of_32_bits(device, "power_default_limit_mw", milliwatts); }
#ifndef WITHOUT_TEMPERATURE
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *celsius) { (void)sensor; return state_of_32_bits(device, "temperature_c", celsius); }
#endif
/* Clock 1 is that of the multiprocessors (NVML_CLOCK_SM). */
int nvmlDeviceGetClockInfo(void *device, int clock, unsigned int *mhz) { return state_of_32_bits(device, clock == 1 ? "sm_clock_mhz" : "another", mhz); }
int nvmlDeviceGetMaxClockInfo(void *device, int clock, unsigned int *mhz) { return state_of_32_bits(device, clock == 1 ? "max_sm_clock_mhz" : "another", mhz); }
int nvmlDeviceGetCurrPcieLinkGeneration(void *device, unsigned int *out) { return state_of_32_bits(device, "pcie_generation", out); }
int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned int *out) { return state_of_32_bits(device, "pcie_max_generation", out); }
int nvmlDeviceGetCurrPcieLinkWidth(void *device, unsigned int *out) { return state_of_32_bits(device, "pcie_width", out); }
int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned int *out) { return state_of_32_bits(device, "pcie_max_width", out); }
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

/* What `peers` and `nvlink_peers` of the file are: one bit for each GPU that is reached. */
int nvmlDeviceGetP2PStatus(void *device, void *other, int by, int *out)
{
    unsigned long long reached = 0;
    int status = state(device, by == 0 ? "peers" : by == 2 ? "nvlink_peers" : "another", &reached);
    *out = reached >> ((long)other - 1) & 1 ? 0 : 3;
    return status;
}

int nvmlShutdown(void) { return 0; }
