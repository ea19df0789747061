// A library in the place of one of NVIDIA's: each function finds the real one at its first call and goes there ever after. functions.h has a line
// FUNCTION(name) for each; FILE_NAME is the real library's, and MISSING what the functions return where it is not there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
#define FUNCTION(name) #name,
#include "functions.h"
#undef FUNCTION
};
enum {
#define FUNCTION(name) index_of_##name,
#include "functions.h"
#undef FUNCTION
    COUNT
};

static void *found[COUNT];
static void *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int missing(void) { return MISSING; }

static void open_library(void) {
    library = dlopen(FILE_NAME, RTLD_NOW | RTLD_LOCAL);
    // Without a driver there is no card, which the caller says; the others belong to the toolkit.
    if (!library && strcmp(FILE_NAME, "libcuda.so.1")) {
        fprintf(stderr, "%s\nInstall the CUDA 13 libraries, or set LD_LIBRARY_PATH to the folder that has them.\n", dlerror());
    }
}

__attribute__((used)) static void *find(unsigned long index) {
    pthread_once(&once, open_library);
    void *function = library ? dlsym(library, names[index]) : NULL;
    if (!function) function = (void *)missing;
    __atomic_store_n(&found[index], function, __ATOMIC_RELEASE);
    return function;
}

// The way to `find` with a function's number in r11: the caller's arguments are kept, those in floating point too. At a function's entry
// the stack is 8 bytes off a multiple of 16; seven pushes and 128 bytes bring it there.
__asm__(".text\n"
        ".type look_up, @function\n"
        "look_up:\n"
        "  push %rdi\n push %rsi\n push %rdx\n push %rcx\n push %r8\n push %r9\n push %rax\n"
        "  sub $128, %rsp\n"
        "  movups %xmm0, (%rsp)\n movups %xmm1, 16(%rsp)\n movups %xmm2, 32(%rsp)\n movups %xmm3, 48(%rsp)\n"
        "  movups %xmm4, 64(%rsp)\n movups %xmm5, 80(%rsp)\n movups %xmm6, 96(%rsp)\n movups %xmm7, 112(%rsp)\n"
        "  mov %r11, %rdi\n"
        "  call find\n"
        "  mov %rax, %r11\n"
        "  movups (%rsp), %xmm0\n movups 16(%rsp), %xmm1\n movups 32(%rsp), %xmm2\n movups 48(%rsp), %xmm3\n"
        "  movups 64(%rsp), %xmm4\n movups 80(%rsp), %xmm5\n movups 96(%rsp), %xmm6\n movups 112(%rsp), %xmm7\n"
        "  add $128, %rsp\n"
        "  pop %rax\n pop %r9\n pop %r8\n pop %rcx\n pop %rdx\n pop %rsi\n pop %rdi\n"
        "  jmp *%r11\n");

#define FUNCTION(name)                                                                       \
    __attribute__((naked)) void name(void) {                                                 \
        __asm__("mov %0, %%r11\n test %%r11, %%r11\n jz 1f\n jmp *%%r11\n"                   \
                "1: mov %1, %%r11d\n jmp look_up" ::"m"(found[index_of_##name]), "i"(index_of_##name)); \
    }
#include "functions.h"
