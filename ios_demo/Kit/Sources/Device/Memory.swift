import Foundation
import os

/// Memory of this process, as the system counts it against its limit.
public enum Memory {
    /// Bytes in use; nil if the system does not say.
    public static var footprint: Int? {
        var info = task_vm_info_data_t()
        let words = MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size
        var count = mach_msg_type_number_t(words)
        let status = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: words) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        return status == KERN_SUCCESS ? Int(info.phys_footprint) : nil
    }

    /// Bytes that may still be taken before the system ends this process; nil if nobody knows.
    ///
    /// About half of a phone's memory for an app, some 120 MB for a share extension.
    public static var available: Int? {
        #if os(macOS)
        return nil
        #else
        let bytes = Int(os_proc_available_memory())
        return bytes > 0 ? bytes : nil
        #endif
    }
}
