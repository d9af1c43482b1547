// Stand-in, not Apple's: pixel buffers in plain memory, rows padded as a phone's often are. Enough
// to run the Kit's own code on.
@_exported import CoreFoundationTypes

public typealias CVReturn = Int32
public typealias OSType = UInt32
public typealias CFAllocator = AnyObject
public typealias CVPixelBuffer = CVImageBuffer

public let kCVReturnSuccess: CVReturn = 0
public let kCVPixelFormatType_32BGRA: OSType = 0x4247_5241
public let kCVPixelBufferIOSurfacePropertiesKey: CFString = "IOSurfaceProperties"

public final class CVImageBuffer {
    public let width: Int
    public let height: Int
    public let bytesPerRow: Int
    public let memory: UnsafeMutableRawPointer
    let format: OSType
    var locks = 0

    init(width: Int, height: Int, format: OSType) {
        self.width = width
        self.height = height
        self.format = format
        bytesPerRow = (4 * width + 63) / 64 * 64 + 64
        memory = .allocate(byteCount: bytesPerRow * height, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0xA5, count: bytesPerRow * height)
    }

    deinit {
        precondition(locks == 0, "a buffer was never unlocked")
        memory.deallocate()
    }
}

public struct CVPixelBufferLockFlags: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let readOnly = CVPixelBufferLockFlags(rawValue: 1)
}

public func CVPixelBufferCreate(
    _ allocator: CFAllocator?, _ width: Int, _ height: Int, _ format: OSType,
    _ attributes: CFDictionary?, _ buffer: UnsafeMutablePointer<CVPixelBuffer?>
) -> CVReturn {
    buffer.pointee = CVImageBuffer(width: width, height: height, format: format)
    return kCVReturnSuccess
}
public func CVPixelBufferGetWidth(_ buffer: CVPixelBuffer) -> Int { buffer.width }
public func CVPixelBufferGetHeight(_ buffer: CVPixelBuffer) -> Int { buffer.height }
public func CVPixelBufferGetBytesPerRow(_ buffer: CVPixelBuffer) -> Int { buffer.bytesPerRow }
public func CVPixelBufferGetPixelFormatType(_ buffer: CVPixelBuffer) -> OSType { buffer.format }
public func CVPixelBufferLockBaseAddress(
    _ buffer: CVPixelBuffer, _ flags: CVPixelBufferLockFlags
) -> CVReturn {
    buffer.locks += 1
    return kCVReturnSuccess
}
@discardableResult
public func CVPixelBufferUnlockBaseAddress(
    _ buffer: CVPixelBuffer, _ flags: CVPixelBufferLockFlags
) -> CVReturn {
    buffer.locks -= 1
    return kCVReturnSuccess
}
public func CVPixelBufferGetBaseAddress(_ buffer: CVPixelBuffer) -> UnsafeMutableRawPointer? {
    buffer.locks > 0 ? buffer.memory : nil
}
