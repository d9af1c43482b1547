import CoreVideo
import RIDCore

extension CVPixelBuffer {
    /// A 32BGRA buffer that GPU and Neural Engine can read without a copy.
    static func make(width: Int, height: Int) throws -> CVPixelBuffer {
        let attributes = [kCVPixelBufferIOSurfacePropertiesKey: [String: Any]()] as CFDictionary
        var buffer: CVPixelBuffer?
        let status = CVPixelBufferCreate(
            nil, width, height, kCVPixelFormatType_32BGRA, attributes, &buffer)
        guard status == kCVReturnSuccess, let buffer else {
            throw RIDError.engineFailed("no memory for a picture (CVReturn \(status))")
        }
        return buffer
    }

    /// Locks the buffer and lends its pixels.
    ///
    /// - Parameter body: may not keep the view.
    /// - Throws: `RIDError.photoUnreadable` for another format than 32BGRA, or what `body` throws.
    func withPixels<Result>(_ body: (PixelView) throws -> Result) throws -> Result {
        guard CVPixelBufferGetPixelFormatType(self) == kCVPixelFormatType_32BGRA else {
            throw RIDError.photoUnreadable("its pixel buffer is not of the kind 32BGRA")
        }
        guard CVPixelBufferLockBaseAddress(self, []) == kCVReturnSuccess else {
            throw RIDError.photoUnreadable("its pixel buffer cannot be locked")
        }
        defer { CVPixelBufferUnlockBaseAddress(self, []) }
        guard let base = CVPixelBufferGetBaseAddress(self) else {
            throw RIDError.photoUnreadable("its pixel buffer has no memory")
        }
        return try body(
            PixelView(
                base: base, width: CVPixelBufferGetWidth(self),
                height: CVPixelBufferGetHeight(self),
                bytesPerRow: CVPixelBufferGetBytesPerRow(self), order: .bgra))
    }
}

extension Protection {
    /// Protects a photo of any size in place: the one call for a camera pipeline that works on
    /// pixel buffers.
    ///
    /// - Parameters:
    ///   - buffer: 32BGRA; not to be touched by anyone else until this returns.
    ///   - orientation: that makes it upright.
    ///   - defender: an `EngineLadder`, or a single `CoreMLDefender`.
    ///   - budget: bound and strength; nil is the defender's own bound at full strength.
    /// - Returns: what the change was.
    /// - Throws: `RIDError`, or `CancellationError`; the buffer may then be half done.
    public static func protect(
        _ buffer: CVPixelBuffer, orientation: Orientation = .up, with defender: some Defender,
        budget: Budget? = nil
    ) async throws -> Verdict {
        let view = try buffer.withPixels {
            try workingView(of: $0, orientation: orientation, side: defender.side)
        }
        let unit = try await predict(view, with: defender)
        let budget = try budget ?? Budget(levels: defender.levels)
        return try buffer.withPixels {
            try apply(unit, to: $0, orientation: orientation, budget: budget)
        }
    }
}
