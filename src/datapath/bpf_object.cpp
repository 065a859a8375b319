// SPDX-License-Identifier: Apache-2.0
#include "datapath/bpf_object.h"

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "common/log.h"

namespace weir::datapath {
namespace {

/// libbpf's warnings on this thread, the verifier's log among them.
thread_local std::string* captured = nullptr;
constexpr size_t kCaptureLimit = 32U << 20;

int capture_print(libbpf_print_level level, const char* format, va_list args) {
    if (level == LIBBPF_DEBUG || captured == nullptr) return 0;
    va_list measure;
    va_copy(measure, args);
    const int length = std::vsnprintf(nullptr, 0, format, measure);
    va_end(measure);
    if (length <= 0 || captured->size() + static_cast<size_t>(length) > kCaptureLimit) return 0;
    const size_t old = captured->size();
    captured->resize(old + static_cast<size_t>(length) + 1);
    std::vsnprintf(captured->data() + old, static_cast<size_t>(length) + 1, format, args);
    captured->resize(old + static_cast<size_t>(length));
    return length;
}

/// From the start of the process, so that libbpf never writes to stderr by itself.
[[maybe_unused]] const libbpf_print_fn_t kDefaultPrint = libbpf_set_print(capture_print);

/// Collects libbpf's words while it lives.
class Capture {
  public:
    Capture() { captured = &text_; }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    ~Capture() { captured = nullptr; }
    [[nodiscard]] const std::string& text() const { return text_; }

  private:
    std::string text_;
};

std::string last_lines(std::string_view text, size_t count) {
    while (text.ends_with('\n'))
        text.remove_suffix(1);
    size_t at = text.size();
    for (size_t i = 0; i < count && at != std::string_view::npos && at > 0; ++i) {
        at = text.rfind('\n', at - 1);
    }
    if (at != std::string_view::npos && at > 0) text.remove_prefix(at + 1);
    return std::string(text);
}

}  // namespace

// The log as libbpf prints it:
//   libbpf: prog 'pod_from': BPF program load failed: Permission denied
//   libbpf: prog 'pod_from': -- BEGIN PROG LOAD LOG --
//   0: R1=ctx(off=0,imm=0) R10=fp0
//   ...
//   processed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0
//   -- END PROG LOAD LOG --
VerifierLog parse_verifier_log(std::string_view log) {
    constexpr std::string_view kBegin = "-- BEGIN PROG LOAD LOG --\n";
    constexpr std::string_view kEnd = "-- END PROG LOAD LOG --";
    const size_t begin = log.find(kBegin);
    if (begin == std::string_view::npos) return {last_lines(log, kVerifierTailLines), false};
    log.remove_prefix(begin + kBegin.size());
    const std::string_view body = log.substr(0, log.find(kEnd));
    const size_t line_end = body.rfind("processed ");
    const bool whole = line_end != std::string_view::npos &&
                       body.find(" insns", line_end) != std::string_view::npos;
    return {last_lines(body, kVerifierTailLines), !whole};
}

Result<size_t> find_config_offset(const btf* btf) {
    const int section = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
    if (section < 0) return fail(Errc::kNotFound, "no read-only data");
    const btf_type* type = btf__type_by_id(btf, static_cast<uint32_t>(section));
    const btf_var_secinfo* info = btf_var_secinfos(type);
    for (int i = 0; i < btf_vlen(type); ++i, ++info) {
        const btf_type* variable = btf__type_by_id(btf, info->type);
        if (std::strcmp(btf__name_by_offset(btf, variable->name_off), "cfg") != 0) continue;
        if (info->size == sizeof(weir_config)) return info->offset;
        return fail(Errc::kInvalid, "its configuration has {} bytes, not {}: another ABI",
                    info->size, sizeof(weir_config));
    }
    return fail(Errc::kNotFound, "no configuration in its read-only data");
}

void BpfObject::Close::operator()(bpf_object* object) const {
    bpf_object__close(object);
}

Result<BpfObject> BpfObject::open(const ObjectImage& image) {
    const Capture capture;
    LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = image.name.c_str());
    bpf_object* object = bpf_object__open_mem(image.data.data(), image.data.size(), &opts);
    if (object == nullptr) {
        return fail_errno(errno, "open the BPF object {}: {}", image.name,
                          last_lines(capture.text(), 3));
    }
    return BpfObject(image.name, object);
}

std::vector<bpf_map*> BpfObject::maps() const {
    std::vector<bpf_map*> maps;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_.get()) maps.push_back(map);
    return maps;
}

std::vector<bpf_program*> BpfObject::programs() const {
    std::vector<bpf_program*> programs;
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object_.get()) programs.push_back(program);
    return programs;
}

Result<void> BpfObject::set_config(const weir_config& config) {
    const auto offset = find_config_offset(bpf_object__btf(object_.get()));
    if (!offset && offset.error().code() == Errc::kNotFound) return {};
    if (!offset) return Failure(Error(offset.error()).with("BPF object {}", name_));
    for (bpf_map* map : maps()) {
        if (!std::string_view(bpf_map__name(map)).ends_with(".rodata")) continue;
        size_t size = 0;
        const auto* initial = static_cast<const std::byte*>(bpf_map__initial_value(map, &size));
        if (initial == nullptr || *offset + sizeof config > size) break;
        std::vector<std::byte> data(initial, initial + size);
        std::memcpy(data.data() + *offset, &config, sizeof config);
        if (const int error = bpf_map__set_initial_value(map, data.data(), size); error != 0) {
            return fail_errno(-error, "BPF object {}: set its configuration", name_);
        }
        return {};
    }
    return fail(Errc::kInternal, "BPF object {}: read-only data is smaller than it says", name_);
}

Result<void> BpfObject::keep_programs(const std::function<bool(std::string_view)>& wanted) {
    for (bpf_program* program : programs()) {
        const bool keep = wanted(bpf_program__name(program));
        if (const int error = bpf_program__set_autoload(program, keep); error != 0) {
            return fail_errno(-error, "BPF object {}: select program {}", name_,
                              bpf_program__name(program));
        }
    }
    return {};
}

Result<void> BpfObject::load() {
    const Capture capture;
    const int error = bpf_object__load(object_.get());
    if (error == 0) return {};
    const VerifierLog log = parse_verifier_log(capture.text());
    const Error cause = system_error(-error, fmt::format("load the BPF object {}", name_));
    return fail(cause.code(), "{}; the verifier's last words{}:\n{}", cause.message(),
                log.truncated ? " (its log was cut short)" : "", log.tail);
}

}  // namespace weir::datapath
