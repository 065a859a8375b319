// SPDX-License-Identifier: Apache-2.0
/// What reading and holding a big cluster costs: time to decode YAML and JSON text, heap per
/// Service and endpoint, the process's resident size, and the time from a file's rename to the
/// delta.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <malloc.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "kube/endpoint_controller.h"
#include "kube/file_source.h"
#include "rows.h"

namespace weir::kube {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Of this process: a busy machine does not count.
double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

size_t heap_bytes() {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

double resident_mb() {
    size_t total = 0;
    size_t resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

std::string service_yaml(int i) {
    return fmt::format(
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: service-{0}\n  namespace: "
        "team-{1}\n"
        "  uid: 7c9e6679-7425-40de-944b-{0:012x}\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n"
        "  labels:\n    app.kubernetes.io/name: service-{0}\n    app.kubernetes.io/part-of: shop\n"
        "    app.kubernetes.io/managed-by: Helm\n"
        "spec:\n  clusterIP: 10.{2}.{3}.{4}\n  clusterIPs: [10.{2}.{3}.{4}]\n  ipFamilies: [IPv4]\n"
        "  selector:\n    app.kubernetes.io/name: service-{0}\n"
        "  ports:\n  - name: http\n    port: 80\n    targetPort: 8080\n",
        i, i / 50, 96 + (i >> 16), (i >> 8) & 255, i & 255);
}

std::string slice_yaml(int i, int endpoints) {
    std::string out = fmt::format(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata:\n"
        "  name: service-{0}-x7k2p\n  namespace: team-{1}\n"
        "  uid: 8d0f7780-8536-41ef-a55c-{0:012x}\n  labels:\n    kubernetes.io/service-name: "
        "service-{0}\n    app.kubernetes.io/part-of: shop\n"
        "ports:\n- {{name: http, port: 8080, protocol: TCP}}\nendpoints:\n",
        i, i / 50);
    for (int e = 0; e < endpoints; ++e) {
        const int n = i * endpoints + e;
        out += fmt::format(
            "- addresses:\n  - 10.{0}.{1}.{2}\n  conditions:\n    ready: true\n    serving: true\n"
            "    terminating: false\n  nodeName: worker-node-{3}.example.com\n  zone: zone-{4}\n"
            "  targetRef:\n    kind: Pod\n    name: service-{5}-6d4cf56db6-{6:05x}\n"
            "    namespace: team-{7}\n    uid: 9e1a8891-9647-42f0-b66d-{6:012x}\n",
            n >> 16, (n >> 8) & 255, n & 255, n % 500, n % 3, i, n, i / 50);
    }
    return out;
}

std::string slices_json(int services, int endpoints) {
    std::string out = R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSliceList","items":[)";
    for (int i = 0; i < services; ++i) {
        out += fmt::format(
            R"({}{{"metadata":{{"name":"service-{}-x7k2p","namespace":"team-{}","labels":)"
            R"({{"kubernetes.io/service-name":"service-{}"}}}},"addressType":"IPv4",)"
            R"("ports":[{{"name":"http","port":8080,"protocol":"TCP"}}],"endpoints":[)",
            i > 0 ? "," : "", i, i / 50, i);
        for (int e = 0; e < endpoints; ++e) {
            const int n = i * endpoints + e;
            out += fmt::format(
                R"({}{{"addresses":["10.{}.{}.{}"],"conditions":{{"ready":true,"serving":true,)"
                R"("terminating":false}},"nodeName":"worker-node-{}.example.com","zone":"zone-{}",)"
                R"("targetRef":{{"kind":"Pod","name":"service-{}-6d4cf56db6-{:05x}"}}}})",
                e > 0 ? "," : "", n >> 16, (n >> 8) & 255, n & 255, n % 500, n % 3, i, n);
        }
        out += "]}";
    }
    return out + "]}";
}

std::string pod_yaml(int n, int services) {
    return fmt::format(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: pod-{0}\n  namespace: team-{1}\n  "
        "labels:\n"
        "    app.kubernetes.io/name: service-{2}\n    app.kubernetes.io/managed-by: Helm\n"
        "spec: {{nodeName: worker-node-{3}.example.com}}\n"
        "status:\n  phase: Running\n  conditions:\n  - {{type: Ready, status: \"True\"}}\n"
        "  podIPs:\n  - ip: 10.{4}.{5}.{6}\n",
        n, (n % services) / 50, n % services, n % 500, n >> 16, (n >> 8) & 255, n & 255);
}

void row(std::string name, std::string unit, std::vector<double> samples, std::string note = {}) {
    print(bench::Row{.kind = "kube",
                     .name = std::move(name),
                     .unit = std::move(unit),
                     .samples = std::move(samples),
                     .note = std::move(note)});
}

void report_decode(std::string_view what, std::string_view text) {
    constexpr int kRounds = 5;
    std::vector<double> rounds;
    size_t objects = 0;
    for (int i = 0; i < kRounds; ++i) {
        TextPool pool;
        const double start = cpu_seconds();
        const DecodedFile decoded = decode(text, pool);
        rounds.push_back(cpu_seconds() - start);
        objects = decoded.objects.size();
        if (!decoded.problems.empty()) {
            fmt::print(stderr, "{}: {}\n", what, decoded.problems[0].to_string());
            std::exit(1);
        }
    }
    const double megabytes = static_cast<double>(text.size()) / 1e6;
    row(std::string(what), "s", rounds,
        fmt::format("{} objects, {:.1f} MB, {:.0f} MB/s", objects, megabytes,
                    megabytes / bench::quantile(rounds, 0.5)));
}

/// Heap growth by putting all objects of the text into a store.
double put_all(Store& store, SourceId source, TextPool& pool, const std::string& text) {
    const size_t before = heap_bytes();
    {
        DecodedFile decoded = decode(text, pool);
        for (auto& object : decoded.objects) {
            store.put(source, std::move(object.object), object.line);
        }
    }
    store.publish();
    return static_cast<double>(heap_bytes() - before);
}

void report_memory(const std::vector<std::string>& services, const std::vector<std::string>& slices,
                   int count, int endpoints) {
    Store store;
    TextPool pool;
    const SourceId source = store.add_source(0, "bench");
    const double before = resident_mb();
    double service_heap = 0;
    double slice_heap = 0;
    for (const auto& text : services)
        service_heap += put_all(store, source, pool, text);
    for (const auto& text : slices)
        slice_heap += put_all(store, source, pool, text);
    row("heap of a Service", "B", {service_heap / count});
    row("heap of an endpoint, its slice included", "B", {slice_heap / count / endpoints});
    row("heap of the store", "MB", {(service_heap + slice_heap) / 1e6},
        fmt::format("{:.1f} MB resident more than before", resident_mb() - before));
}

/// Rename over one file to the delta, the time in which a burst is gathered included.
void report_change(const fs::path& directory, int count, int endpoints) {
    Store store;
    const double cpu = cpu_seconds();
    auto files = FileSource::open(store, {directory});
    EndpointController controller(store);
    controller.update();
    store.publish();
    row("directory, first reading", "s", {cpu_seconds() - cpu},
        fmt::format("{} Services, {} slices, {} problems", store.count<model::Service>(),
                    store.count<model::EndpointSlice>(), files->problems().size()));
    std::vector<double> millis;
    bool told = false;
    store.subscribe([&](const Delta& delta) { told = !delta.endpoints.empty(); });
    for (int round = 0; round < 200; ++round) {
        ::usleep(10'000);  // each change on its own
        std::ofstream(directory / "one.tmp") << slice_yaml(count, 1 + (round % endpoints));
        const auto start = Clock::now();
        fs::rename(directory / "one.tmp", directory / "zz-one.yaml");
        told = false;
        const auto waits = [&told] { return !told; };
        while (waits()) {
            pollfd waiting{.fd = files->fd(), .events = POLLIN, .revents = 0};
            if (::poll(&waiting, 1, 1000) <= 0 || !files->on_readable()) std::abort();
            controller.update();
            store.publish();
        }
        millis.push_back(seconds_since(start) * 1e3);
    }
    row("rename of a file to the change", "ms", millis,
        fmt::format("p99 {:.2f} ms", bench::quantile(millis, 0.99)));
}

void report_controller(int services, int pods) {
    Store store;
    TextPool pool;
    EndpointController controller(store);
    const SourceId source = store.add_source(0, "bench");
    for (int i = 0; i < services; ++i) {
        for (auto& o : decode(service_yaml(i), pool).objects)
            store.put(source, std::move(o.object));
    }
    for (int n = 0; n < pods; ++n) {
        for (auto& o : decode(pod_yaml(n, services), pool).objects) {
            store.put(source, std::move(o.object));
        }
    }
    const size_t before = heap_bytes();
    double start = cpu_seconds();
    controller.update();
    store.publish();
    row("endpoint controller, all pods at once", "s", {cpu_seconds() - start},
        fmt::format("{} Services, {} pods, {:.0f} B an endpoint", services, pods,
                    static_cast<double>(heap_bytes() - before) / pods));
    std::vector<double> micros;
    for (int round = 0; round < 1000; ++round) {
        model::Pod pod = *store.find<model::Pod>(
            {fmt::format("team-{}", (round % services) / 50), fmt::format("pod-{}", round)});
        pod.ready = false;
        store.put(source, std::move(pod));
        start = cpu_seconds();
        controller.update();
        micros.push_back((cpu_seconds() - start) * 1e6);
        store.publish();
    }
    row("endpoint controller, one pod changes", "us", micros,
        fmt::format("p99 {:.1f} us", bench::quantile(micros, 0.99)));
}

int run(int services, int endpoints) {
    fmt::print(stderr, "bench: kube: {} Services, {} endpoints\n", services, services * endpoints);
    std::string pattern = (fs::temp_directory_path() / "weir-bench-XXXXXX").string();
    const fs::path directory = ::mkdtemp(pattern.data());
    {
        constexpr int kPerFile = 100;
        std::vector<std::string> service_texts;
        std::vector<std::string> slice_texts;
        for (int i = 0; i < services; ++i) {
            if (i % kPerFile == 0) {
                service_texts.emplace_back();
                slice_texts.emplace_back();
            }
            service_texts.back() += service_yaml(i);
            slice_texts.back() += slice_yaml(i, endpoints);
        }
        report_memory(service_texts, slice_texts, services, endpoints);
        std::string all;
        for (size_t i = 0; i < service_texts.size(); ++i) {
            std::ofstream(directory / fmt::format("{:04}.yaml", i))
                << service_texts[i] << slice_texts[i];
            all += service_texts[i] + slice_texts[i];
        }
        report_decode("bytes to objects, YAML", all);
    }
    report_decode("bytes to objects, one JSON list of slices", slices_json(services, endpoints));
    report_change(directory, services, endpoints);
    report_controller(services, services * endpoints);
    fs::remove_all(directory);
    return 0;
}

}  // namespace
}  // namespace weir::kube

int main(int argc, char** argv) {
    const int services = argc > 1 ? std::atoi(argv[1]) : 10000;  // NOLINT(cert-err34-c)
    const int endpoints = argc > 2 ? std::atoi(argv[2]) : 10;    // NOLINT(cert-err34-c)
    if (services <= 0 || endpoints <= 0 || argc > 3) {
        fmt::print(stderr, "usage: {} [SERVICES [ENDPOINTS_EACH]]\n", argv[0]);
        return 2;
    }
    return weir::kube::run(services, endpoints);
}
