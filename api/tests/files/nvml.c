/* A driver library for tests, with the few functions that readings use: three devices, of which the
 * first reports everything, the second next to nothing, and the third is lost. The names, numbers
 * and layouts are those of NVIDIA's management library. */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, LOST = 15 };

typedef struct {
    unsigned int version;
    unsigned long long total, reserved, free, used;
} memory;

typedef struct {
    unsigned int gpu, memory;
} utilization;

static const char devices[3];

static long number_of(const void *device) { return (const char *)device - devices; }

/* What initialising answers, so that a test can have a driver that does not work. */
int nvmlInit_v2(void) {
    const char *answer = getenv("TEST_NVML_INIT");
    return answer ? atoi(answer) : SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *text, unsigned int length) {
    strncpy(text, "570.124.06", length);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = 3;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, const void **device) {
    if (index > 2) return INVALID;
    *device = devices + index;
    return index == 2 ? LOST : SUCCESS;
}

int nvmlDeviceGetName(const void *device, char *text, unsigned int length) {
    strncpy(text, number_of(device) ? "Sparse Device" : "Full Device", length);
    return SUCCESS;
}

int nvmlDeviceGetUUID(const void *device, char *text, unsigned int length) {
    strncpy(text, number_of(device) ? "GPU-1111" : "GPU-0000", length);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(const void *device, memory *found) {
    if (number_of(device)) return NOT_SUPPORTED;
    found->total = 85899345920ULL;
    found->reserved = 536870912ULL;
    found->used = 21474836480ULL;
    found->free = found->total - found->reserved - found->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(const void *device, utilization *found) {
    if (number_of(device)) return NOT_SUPPORTED;
    found->gpu = 0;
    found->memory = 12;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(const void *device, int sensor, unsigned int *celsius) {
    *celsius = 41;
    return number_of(device) || sensor ? NOT_SUPPORTED : SUCCESS;
}

/* The second device answers, with the number that stands for "not known". */
int nvmlDeviceGetPowerUsage(const void *device, unsigned int *milliwatts) {
    *milliwatts = number_of(device) ? 0xFFFFFFFFU : 120123U;
    return SUCCESS;
}
