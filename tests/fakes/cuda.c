/* A small libcuda.so.1. Compile with -DINIT_STATUS=n (CUresult) or -DHANG. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef INIT_STATUS
#define INIT_STATUS 0
#endif

int cuInit(unsigned int flags)
{
    (void)flags;
#ifdef HANG
    for (;;) pause();
#endif
    const char *log = getenv("CUDA_LOG_FILE");
    FILE *file = INIT_STATUS && log ? fopen(log, "a") : NULL;
    if (file) {
        fputs("[CUDA][E] what the driver says of it\n", file);
        fclose(file);
    }
    return INIT_STATUS;
}

int cuDriverGetVersion(int *version) { *version = 12020; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuGetErrorName(int code, const char **name)
{
    *name = code == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" : "CUDA_ERROR_UNKNOWN";
    return 0;
}
int cuGetErrorString(int code, const char **message) { (void)code; *message = "a message"; return 0; }
