// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <mutex>
#include <string>

namespace weir::agent {

/// One mutex a name, for as long as somebody holds or awaits it. Thread-safe.
class KeyedMutex {
    struct Entry {
        std::mutex mutex;
        unsigned holders = 0;  // and those who wait
    };
    using Entries = std::map<std::string, Entry>;

  public:
    /// Holds one name until it is destroyed.
    class Lock {
      public:
        Lock(KeyedMutex& owner, const std::string& key) : owner_(owner), at_(owner.enter(key)) {
            at_->second.mutex.lock();
        }
        Lock(const Lock&) = delete;
        Lock& operator=(const Lock&) = delete;
        ~Lock() {
            at_->second.mutex.unlock();
            owner_.leave(at_);
        }

      private:
        KeyedMutex& owner_;
        Entries::iterator at_;
    };

  private:
    Entries::iterator enter(const std::string& key) {
        const std::scoped_lock lock(mutex_);
        const auto at = entries_.try_emplace(key).first;
        ++at->second.holders;
        return at;
    }
    void leave(Entries::iterator at) {
        const std::scoped_lock lock(mutex_);
        if (--at->second.holders == 0) entries_.erase(at);
    }

    std::mutex mutex_;
    Entries entries_;
};

}  // namespace weir::agent
