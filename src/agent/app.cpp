// SPDX-License-Identifier: Apache-2.0
#include "agent/app.h"

#include <thread>

#include <boost/json/value.hpp>

#include "agent/api_server.h"
#include "agent/cni_counters.h"
#include "agent/cni_install.h"
#include "agent/complaints.h"
#include "agent/flow_stream.h"
#include "agent/heap_trimmer.h"
#include "agent/host.h"
#include "agent/host_port_pods.h"
#include "agent/loop.h"
#include "agent/metrics.h"
#include "agent/names.h"
#include "agent/objects.h"
#include "agent/pod_ranges.h"
#include "agent/policing.h"
#include "agent/privileges.h"
#include "agent/settings.h"
#include "agent/version.h"
#include "agent/views.h"
#include "agent/wiring.h"
#include "common/log.h"
#include "datapath/datapath.h"
#include "datapath/embedded.h"
#include "datapath/host_checks.h"
#include "datapath/netlink/sysctl.h"
#include "datapath/reader.h"
#include "flow/hub.h"
#include "flow/ring_reader.h"

namespace weir::agent {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// Flow events handled before the loop looks at other work.
constexpr size_t kEventBudget = 512;
/// Between two looks at all devices and pods' links.
constexpr auto kLookAround = 60s;
/// A pod that is wired is a score of notifications.
constexpr auto kNetlinkRest = 10ms;
/// Requests of runtimes handled at the same time. Wiring takes turns at one kernel lock, but those
/// who wait together share what it waits for (netlink::PodLinks::create()).
constexpr unsigned kCniThreads = 16;

/// Everything the agent is made of, in the order in which it comes up. Members are destroyed in
/// reverse: the server and the workers end before what they use.
class Agent {
  public:
    explicit Agent(Start start) : start_(std::move(start)), config_(start_.config) {
        choose_source(start_.config);
    }

    Result<void> run() {
        WEIR_CHECK(prepare());
        WEIR_CHECK(bring_up());
        WEIR_CHECK(serve());
        loop_.stop_on_signals();
        if (!objects_->synced())
            log::info("serving; tables follow when every object has been read");
        take_over_when_synced();
        if (failure_) return Failure(*std::exchange(failure_, {}));
        loop_.run();
        objects_->end_writes();
        server_->stop();
        if (failure_) return Failure(*std::exchange(failure_, {}));
        return {};
    }

  private:
    /// What must hold before anything is touched.
    Result<void> prepare() {
        std::error_code error;
        fs::create_directories(config_.run_dir / "pods.d", error);
        if (error) {
            return fail(Errc::kSystem, "run-dir {}: {}", config_.run_dir.string(), error.message());
        }
        cgroup_ = WEIR_TRY(datapath::find_cgroup_root(config_.cgroup_root));
        if (cgroup_.subtree) {
            log::info(
                "cgroup {} is not the host's root: sockets outside of it are served by tc only",
                cgroup_.path.string());
        }
        WEIR_CHECK(datapath::check_bpffs(bpffs_of(config_)));
        return {};
    }

    Result<void> bring_up() {
        datapath_ = WEIR_TRY(datapath::Datapath::open({.bpffs = bpffs_of(config_),
                                                       .cgroup_root = cgroup_.path,
                                                       .sizes = table_sizes(config_),
                                                       .build = datapath::embedded_build()}));
        report_capacities();
        objects_ = WEIR_TRY(Objects::open(config_, datapath_->lb(), object_hooks()));
        WEIR_CHECK(objects_->wait_for_node());
        pod_ranges_ = objects_->pod_ranges();
        host_ = WEIR_TRY(Host::open(config_, pod_ranges_, objects_->node_addresses()));
        findings_.look();
        WEIR_CHECK(load_programs());
        wiring_ = WEIR_TRY(Wiring::open(config_, *host_, *datapath_, pod_ranges_));
        wiring_->cni().on_host_ports([this] { loop_.post([this] { set_host_ports(); }); });
        police();
        if (auto* api = objects_->api())
            complaints_.emplace(*api, *objects_, *policing_, config_.node_name);
        return {};
    }

    /// An ADD goes on once the pod is under its policies. Pods closed for longer are told of by
    /// `weir status`.
    void police() {
        policing_.emplace(
            *datapath_, objects_->store(), wiring_->pods(), objects_->api() != nullptr,
            Policing::Hooks{
                .post = [this](std::function<void()> work) { loop_.post(std::move(work)); },
                .programmed = {}});
        wiring_->pods().on_change(
            {.wired =
                 [this](const LocalPod& pod) {
                     loop_.post([this, pod] { policing_->wired(pod); });
                     if (policing_->wait_for(pod)) return;
                     log::warn(
                         "pod {}/{}: its policies are not known after {} s; nothing passes to or "
                         "from it until they are",
                         pod.record.pod_namespace, pod.record.pod_name,
                         Policing::kPatience.count());
                 },
             .unwired =
                 [this](const LocalPod& pod) {
                     loop_.post([this, pod] { policing_->unwired(pod); });
                 }});
    }

    /// This build's programs with the configuration as it is now; the old ones stay in force.
    Result<void> load_programs() {
        WEIR_CHECK(host_->ensure_link());
        WEIR_CHECK(datapath_->load(WEIR_TRY(host_->program_config())));
        return host_->write_tables(*datapath_);
    }

    /// Puts the loaded programs in force; returns their bank.
    Result<uint32_t> activate() {
        WEIR_CHECK(policing_->fill());
        const auto activation = WEIR_TRY(datapath_->activate(to_datapath(config_.socket_hooks)));
        WEIR_CHECK(attach());
        return activation.bank;
    }

    /// Only then may packets come by the overlay, and routes lead over it.
    Result<void> attach() {
        WEIR_CHECK(host_->attach_devices(*datapath_));
        if (const auto linked = host_->ensure_link(); !linked) {
            log::error("the host's links and routes: {}; tried again", linked.error().message());
        }
        wiring_->host_changed();
        return {};
    }

    /// What waits for all objects: until then the tables and programs of the agent before go on.
    Result<void> take_over() {
        node_changed();  // it may not be what was remembered of it
        objects_->set_host_addresses(host_->addresses());
        set_host_ports();
        WEIR_CHECK(objects_->start());
        host_->set_peers(objects_->other_nodes(), objects_->node_addresses());
        WEIR_CHECK(host_->write_tables(*datapath_));
        log::info("programs in force, bank {}", WEIR_TRY(activate()));
        WEIR_CHECK(install_cni(cni_install(config_)));
        refresh_names();
        objects_->report_ready();
        log::info("ready: {} Services, {} pods", objects_->store().count<model::Service>(),
                  wiring_->pods().size());
        return {};
    }

    /// Now, or as soon as everything has been read.
    void take_over_when_synced() {
        if (objects_->started() || !objects_->synced()) return;
        if (auto result = take_over(); !result) {
            failure_ = std::move(result).error();
            loop_.stop();
        }
    }

    Result<void> serve() {
        reader_.emplace(WEIR_TRY(datapath::Reader::of(datapath_->pins(), datapath_->maps())));
        flow_names_.emplace(*objects_, wiring_->pods(), *policing_, config_.node_name);
        table_names_.emplace(*objects_);
        views_.emplace(ViewInputs{.start = start_,
                                  .cgroup = cgroup_,
                                  .datapath = *datapath_,
                                  .reader = *reader_,
                                  .objects = *objects_,
                                  .host = *host_,
                                  .findings = findings_,
                                  .pods = wiring_->pods(),
                                  .policing = *policing_,
                                  .ipam = wiring_->ipam(),
                                  .cni = wiring_->cni(),
                                  .names = *table_names_,
                                  .hub = hub_});
        refresh_names();
        recorder_.emplace(*flow_names_);
        ring_.emplace(WEIR_TRY(flow::RingReader::open(
            datapath_->maps().find("weir_events")->fd(),
            [this](const weir_event& event) { hub_.publish(recorder_->make(event)); })));
        metrics_.emplace(metrics::BuildInfo{std::string(build_version()), ""},
                         [this] { return snapshot(); });
        WEIR_CHECK(listen());
        watch();
        return {};
    }

    Result<void> listen() {
        api::Router router;
        views_->register_on(router);
        router.get_stream("/v1/flows", [this](const api::Request& request) {
            return api::flow_stream(hub_, config_.node_name, request);
        });
        for (const auto operation : kCniOperations) {
            router.post_async(fmt::format("/v1/cni/{}", operation),
                              [this](const api::Request& request, const api::Responder& responder) {
                                  serve_cni(request, responder);
                              });
        }
        router.get_text("/metrics", api::Reach::kPublic, [this](const api::Request&) {
            auto response = api::Response::text(200, metrics_->render());
            response.content_type = "text/plain; version=0.0.4";
            return response;
        });
        server_.emplace(loop_.io(), std::move(router));
        WEIR_CHECK(server_->listen_unix({.path = config_.run_dir / "agent.sock",
                                         .group = WEIR_TRY(find_group(config_.socket_group))}));
        if (config_.metrics_address.empty()) return {};
        const auto [address, port] = WEIR_TRY(parse_listener(config_.metrics_address));
        if (const auto bound = server_->listen_tcp(address, port); !bound) {
            return Failure(
                Error(bound.error()).with("metrics-address {}", config_.metrics_address));
        }
        return {};
    }

    [[nodiscard]] metrics::Snapshot snapshot() const {
        auto out = views_->metrics();
        const auto refused = server_->refusals();
        out.api_refused = {{"permission", refused.permission},
                           {"malformed", refused.malformed},
                           {"too_large", refused.too_large},
                           {"timeout", refused.timeout},
                           {"connections", refused.connections}};
        return out;
    }

    void serve_cni(const api::Request& request, const api::Responder& responder) {
        workers_.run([this, path = request.path, body = request.body, responder] {
            const auto begin = std::chrono::steady_clock::now();
            const auto reply = wiring_->cni().handle(path, body);
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
            metrics_->cni_request(path.substr(path.rfind('/') + 1), reply.code, took);
            api::Response response;
            response.status = reply.status;
            response.body = reply.body;
            responder.respond(std::move(response));
        });
    }

    void watch() {
        for (const int fd : objects_->fds()) {
            loop_.watch(fd, [this] {
                if (auto result = objects_->on_readable(); !result) {
                    log::error("reading objects: {}", result.error().message());
                }
                take_over_when_synced();
            });
        }
        loop_.watch(ring_->fd(), [this] {
            if (auto result = ring_->read(kEventBudget); !result) {
                log::error("flow events: {}", result.error().message());
            }
        });
        loop_.watch(host_->devices().fd(), [this] { devices_readable(); }, kNetlinkRest);
        loop_.watch(wiring_->fd(), [this] { wiring_->on_readable(); }, kNetlinkRest);
        loop_.watch(wiring_->cni().queue_fd(),
                    [this] { workers_.run([this] { wiring_->cni().drain_queue(); }); });
        loop_.every(100ms, [this] {
            if (const auto links = wiring_->mend()) serve_anew(*links);
        });
        loop_.every(2s, [this] {
            if (objects_->started()) objects_->age(std::chrono::steady_clock::now());
            mend_policies();
            follow_pod_ranges();
            complain();
        });
        loop_.every(kLookAround, [this] { look_around(); });
        loop_.every(1s, [this] { save_names(); });
    }

    void devices_readable() {
        const auto changed = host_->devices().on_readable();
        if (!changed) {
            log::error("following devices: {}", changed.error().message());
            return;
        }
        if (*changed) devices_changed();
    }

    /// Notifications can be lost without a word, by a bug of ours or the kernel's: an occasional
    /// look at everything.
    void look_around() {
        const auto changed = host_->devices().refresh();
        if (!changed) {
            log::error("looking at devices: {}", changed.error().message());
        } else if (*changed) {
            log::warn("devices or addresses had changed without notice");
            devices_changed();
        }
        wiring_->mark_all();
        findings_.look();
    }

    void devices_changed() {
        wiring_->host_changed();
        if (auto result = host_->write_tables(*datapath_); !result) {
            log::error("host tables: {}", result.error().message());
        }
        if (!objects_->started()) return refresh_names();
        if (auto result = host_->attach_devices(*datapath_); !result) {
            log::error("attaching to devices: {}", result.error().message());
        }
        objects_->set_host_addresses(host_->addresses());
        follow_peers();
        refresh_names();
    }

    /// Programs with the configuration as it is now, in force if the tables are filled.
    Result<void> reload() {
        WEIR_CHECK(load_programs());
        if (objects_->started()) WEIR_CHECK(activate());
        return {};
    }

    /// A table of policy that could not be written is in an unknown state: new programs bring new
    /// ones.
    void mend_policies() {
        if (!policing_->failed()) return;
        if (const auto reloaded = reload(); !reloaded) {
            log::error("policies are not followed: {}; tried again", reloaded.error().message());
        }
    }

    /// Links and routes as they should be now.
    Result<void> ensure_link() {
        const auto links = WEIR_TRY(host_->ensure_link());
        if (links.anew()) serve_anew(links);
        return {};
    }

    /// A link was made anew. Its index is part of the programs' configuration.
    void serve_anew(const netlink::HostLinkState& links) {
        const auto* loaded = datapath_->loaded();
        const bool other = host_->made_anew(links, loaded ? &loaded->config() : nullptr);
        auto served = other ? reload() : objects_->started() ? attach() : Result<void>();
        if (!served) {
            log::error("weir0 or weir_vxlan was removed by somebody and is not served again: {}",
                       served.error().message());
        }
        wiring_->host_changed();
    }

    Objects::Hooks object_hooks() {
        return {.post = [this](std::function<void()> work) { loop_.post(std::move(work)); },
                .changed =
                    [this](const kube::Delta& delta) {
                        names_changed_ = true;
                        if (policing_) policing_->take(delta);
                        if (!delta.of(kube::Kind::kNode).empty()) node_changed();
                        if (!delta.of(kube::Kind::kPod).empty()) refresh_names();
                    },
                .programmed =
                    [this](std::chrono::duration<double> took) {
                        if (metrics_) metrics_->programmed(took);
                    },
                .network_programmed =
                    [this](std::chrono::duration<double> took) {
                        if (metrics_) metrics_->network_programmed(took);
                    }};
    }

    void node_changed() {
        if (objects_->started()) follow_peers();
        follow_pod_ranges();
        if (host_->devices().set_node_addresses(objects_->node_addresses())) devices_changed();
    }

    /// Not before all Nodes are known: an agent before may have made the routes.
    void follow_peers() {
        if (!host_->set_peers(objects_->other_nodes(), objects_->node_addresses())) return;
        if (const auto written = host_->write_tables(*datapath_); !written) {
            log::error("tables of other nodes: {}", written.error().message());
        }
        if (const auto linked = ensure_link(); !linked) {
            log::error("routes to other nodes: {}; tried again", linked.error().message());
        }
        wiring_->host_changed();
    }

    /// Tried again with the next tick if it fails.
    void follow_pod_ranges() {
        auto of_node = objects_->pod_ranges();
        if (of_node == pod_ranges_) return;
        const auto wanted =
            ranges_to_serve(std::move(of_node), pod_ranges_, wiring_->ipam().list());
        if (wanted == pod_ranges_) return;
        if (const auto changed = change_pod_ranges(wanted); !changed) {
            host_->set_pod_ranges(pod_ranges_);
            const auto& message = changed.error().message();
            if (message != std::exchange(range_trouble_, message)) {
                log::error("the pod ranges of this node changed and cannot be taken up: {}",
                           message);
            }
            return;
        }
        range_trouble_.clear();
        pod_ranges_ = wanted;
        for (const IpPrefix& range : wanted)
            log::info("pod range: {}", range.to_string());
    }

    Result<void> change_pod_ranges(const std::vector<IpPrefix>& wanted) {
        WEIR_CHECK(wiring_->ipam().set_ranges(objects_->pod_ranges()));
        const auto before = host_->routers();
        host_->set_pod_ranges(wanted);
        wiring_->host_changed();
        if (host_->routers() != before) return reload();
        WEIR_CHECK(ensure_link());
        return host_->write_tables(*datapath_);
    }

    void complain() {
        if (!complaints_) return;
        objects_->help_writes();
        if (!objects_->started()) return;
        Complaints::OfNodes of_nodes{.own = range_trouble_, .peers = {}};
        if (host_->peers()) of_nodes.peers = host_->peers()->refused;
        complaints_->look(std::chrono::steady_clock::now(), of_nodes);
    }

    void set_host_ports() { objects_->set_host_ports(host_port_pods(wiring_->ipam().list())); }

    void refresh_names() {
        if (!flow_names_) return;
        std::vector<IpAddress> addresses;
        for (const auto& address : host_->devices().current().node_addresses) {
            addresses.push_back(address.address);
        }
        flow_names_->refresh(addresses);
    }

    void save_names() {
        if (!std::exchange(names_changed_, false)) return;
        write_names();
        heap_.trim();
    }

    void write_names() {
        if (auto saved = table_names_->snapshot().save(config_.run_dir); !saved) {
            log::warn("names for reading tables without an agent: {}", saved.error().message());
        }
    }

    void report_capacities() const {
        for (const auto& map : datapath_->maps().adopted()) {
            if (!map.resized() || map.configured == 0) continue;
            log::warn("{} keeps its capacity of {} (configured: {}) until `weir cleanup`", map.name,
                      map.capacity, map.configured);
        }
    }

    Start start_;
    const Config& config_;
    datapath::CgroupRoot cgroup_;
    Loop loop_;
    std::unique_ptr<datapath::Datapath> datapath_;
    std::unique_ptr<Objects> objects_;
    std::optional<Complaints> complaints_;  ///< where there is a cluster to hear them
    std::vector<IpPrefix> pod_ranges_;
    std::string range_trouble_;  ///< told already
    std::unique_ptr<Host> host_;
    HostFindings findings_{config_};
    std::unique_ptr<Wiring> wiring_;
    std::optional<Policing> policing_;
    std::optional<datapath::Reader> reader_;
    std::optional<FlowNames> flow_names_;
    std::optional<TableNames> table_names_;
    flow::Hub hub_{config_.flow_history};
    std::optional<flow::Recorder> recorder_;
    std::optional<flow::RingReader> ring_;
    std::optional<Views> views_;
    std::optional<metrics::Metrics> metrics_;
    std::optional<api::Server> server_;
    bool names_changed_ = true;
    std::optional<Error> failure_;
    HeapTrimmer heap_;
    Workers workers_{kCniThreads};
};

}  // namespace

Result<void> run_agent(Start start) {
    netlink::set_sysctl_root(start.config.proc_sys);
    // Before there are threads, which would keep what they were started with.
    const auto privileges =
        WEIR_TRY(drop_privileges(wanted_capabilities(!start.config.socket_group.empty())));
    if (!privileges.missing.empty()) {
        log::warn("this process lacks capabilities: {}; what needs them will fail",
                  capability_names(privileges.missing));
    }
    if (!privileges.bounding_cleared) {
        log::warn("the capability bounding set stays as it is: CAP_SETPCAP is missing");
    }
    return Agent(std::move(start)).run();
}

}  // namespace weir::agent
