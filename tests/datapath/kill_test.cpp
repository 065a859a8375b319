// SPDX-License-Identifier: Apache-2.0
// An agent killed at any step of its start: what is in force works, and the next agent converges.
#include <array>
#include <set>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "datapath/cleanup.h"
#include "datapath/fixture.h"
#include "datapath/programs.h"

namespace weir::datapath::test {
namespace {

constexpr std::array kMarkedHooks = {"pod_from", "pod_to", "dev_out"};
constexpr int kDied = 9;

class KillTest : public DatapathTest {
  protected:
    /// Starts `mark` in a child that dies before its `step`-th step. True: it died there.
    bool start_and_die(int mark, int step, std::string* where) const {
        std::array<int, 2> pipe{};
        EXPECT_EQ(::pipe(pipe.data()), 0);
        const pid_t child = ::fork();
        if (child == 0) ::_exit(run_child(mark, step, pipe[1]));
        ::close(pipe[1]);
        std::array<char, 128> name{};
        const ssize_t length = ::read(pipe[0], name.data(), name.size() - 1);
        *where = std::string(name.data(), length > 0 ? static_cast<size_t>(length) : 0);
        ::close(pipe[0]);
        int status = 0;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status));
        EXPECT_TRUE(WEXITSTATUS(status) == kDied || WEXITSTATUS(status) == 0) << *where;
        return WEXITSTATUS(status) == kDied;
    }

  private:
    int run_child(int mark, int step, int report) const {
        auto dying = options(mark);
        dying.step = [&](std::string_view name) {
            if (step-- > 0) return;
            (void)!::write(report, name.data(), name.size());
            ::_exit(kDied);  // no destructors, as a kill
        };
        auto datapath = Datapath::open(std::move(dying));
        if (!datapath) return 1;
        if (!(*datapath)->load({})) return 2;
        return (*datapath)->activate(SocketHooks::kAll) ? 0 : 3;
    }
};

TEST_F(KillTest, FirstStart) {
    for (int step = 0;; ++step) {
        std::string where;
        const bool died = start_and_die(1, step, &where);
        {
            const auto next = start(2);
            ASSERT_TRUE(next) << "after dying at \"" << where << "\": " << next.error().message();
            for (const char* hook : kMarkedHooks)
                EXPECT_EQ(run_stub(hook), 2) << where;
        }
        const Cleaned cleaned = clean_up(pins());
        EXPECT_TRUE(cleaned.failed.empty()) << cleaned.failed.front();
        if (died) continue;
        EXPECT_GT(step, 30) << "too few places to die in";
        return;
    }
}

TEST_F(KillTest, Takeover) {
    WEIR_ASSERT_OK(start(1));
    std::set<std::string> places;
    for (int step = 0;; ++step) {
        std::string where;
        const bool died = start_and_die(2, step, &where);
        places.insert(where);
        for (const char* hook : kMarkedHooks) {
            const int answer = run_stub(hook);
            EXPECT_TRUE(answer == 1 || answer == 2) << where << ": " << hook << " says " << answer;
        }
        const auto next = start(1);
        ASSERT_TRUE(next) << "after dying at \"" << where << "\": " << next.error().message();
        for (const char* hook : kMarkedHooks)
            EXPECT_EQ(run_stub(hook), 1) << where;
        EXPECT_EQ(list_pins(pins().progs()).size(), 4U) << where;
        const ProgramArray array(*(*next)->maps().find("weir_progs"), pins());
        EXPECT_TRUE(array.bank_is_empty(1 - array.live_bank()->value()).value()) << where;
        if (!died) break;
    }
    for (const char* place : {"flip pod_to", "flip dev_out", "flip pod_from", "flip dev_in",
                              "unpin next pod_from", "link sock_connect4", "clear old bank"}) {
        EXPECT_TRUE(places.contains(place)) << place;
    }
}

// Death between two flips leaves two builds in force, each whole; the next agent first finishes.
TEST_F(KillTest, AHalfDoneTakeoverIsFinished) {
    std::string where;
    for (int step = 0; where != "flip pod_from"; ++step) {
        WEIR_ASSERT_OK(start(1));
        ASSERT_TRUE(start_and_die(2, step, &where));
    }
    EXPECT_EQ(run_stub("pod_to"), 2);
    EXPECT_EQ(run_stub("pod_from"), 1);
    const auto next = Datapath::open(options(1));
    WEIR_ASSERT_OK(next);
    EXPECT_TRUE((*next)->recovered());
    for (const char* hook : kMarkedHooks)
        EXPECT_EQ(run_stub(hook), 2) << hook;
}

}  // namespace
}  // namespace weir::datapath::test
