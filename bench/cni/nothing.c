/* SPDX-License-Identifier: Apache-2.0 */
/* What the start of any static program with a C library costs. */
int main(void) {
    return 0;
}
