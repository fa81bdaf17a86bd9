/* A small libcuda.so.1. Compile with -DINIT_STATUS=n (CUresult) or -DHANG; with -DCONTEXT_STATUS=n
 * for GPUs that fail as they are first used (-DCOUNT=n: how many there are), and -DTHEN=f() for what it does in place of an answer (-DTHEN_OF_INIT: cuInit).
 * Of what fails it writes as the driver does from CUDA 12.9 on, where it was asked as it was loaded. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef INIT_STATUS
#define INIT_STATUS 0
#endif
#ifndef COUNT
#define COUNT 1
#endif
#ifndef CONTEXT_STATUS
#define CONTEXT_STATUS 0
#endif
#ifndef THEN
#define THEN (void)0
#endif
#ifndef THEN_OF_INIT
#define THEN_OF_INIT (void)0
#endif

static const char *log_file;
__attribute__((constructor)) static void loaded(void) { log_file = getenv("CUDA_LOG_FILE"); }

static int told(int status, const char *function)
{
    FILE *file = status && log_file ? fopen(log_file, "a") : NULL;
    if (file) {
        fprintf(file, "[23:46:34.517][%d][CUDA][E] what the driver says of it\n", getpid());
        fprintf(file, "[23:46:34.518][%d][CUDA][E] Returning %d from %s\n", getpid(), status, function);
        fclose(file);
    }
    return status;
}

int cuInit(unsigned int flags)
{
    (void)flags;
    told(INIT_STATUS, "cuInit");
    THEN_OF_INIT;
    return INIT_STATUS;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    (void)context, (void)device;
    told(CONTEXT_STATUS, "cuDevicePrimaryCtxRetain");
    THEN;
    return CONTEXT_STATUS;
}

int cuDriverGetVersion(int *version) { *version = 12020; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuGetErrorName(int code, const char **name)
{
    *name = code == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" : "CUDA_ERROR_UNKNOWN";
    return 0;
}
int cuGetErrorString(int code, const char **message) { (void)code; *message = "a message"; return 0; }
