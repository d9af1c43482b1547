/// Which photos are protected, and the memory that it takes.
public enum PhotoLimits {
    /// Smallest height and width in pixels, as for `rid-protect`.
    public static let minimumSide = 64
    /// Longest side over shortest: at the working scale, a photo is at most this many tiles long.
    public static let maximumAspect = 64

    /// Bytes that protecting and encoding a photo takes at its peak.
    ///
    /// The pixels once in this process and once in the encoder, and what does not depend on the
    /// photo: the network, its tiles, the previews. The bytes per pixel are what the code
    /// allocates itself; the rest is an estimate, not measured on a phone.
    public static func peakBytes(width: Int, height: Int) -> Int {
        8 * width * height + 60_000_000
    }

    /// Refuses what cannot be protected, before anything is decoded.
    ///
    /// - Parameter availableBytes: what this process may still take; nil if nobody knows.
    public static func check(width: Int, height: Int, availableBytes: Int?) throws {
        guard min(width, height) >= minimumSide else {
            throw RIDError.photoTooSmall(width: width, height: height)
        }
        guard max(width, height) <= maximumAspect * min(width, height) else {
            throw RIDError.photoTooLong(width: width, height: height)
        }
        let needed = peakBytes(width: width, height: height)
        if let availableBytes, needed > availableBytes {
            throw RIDError.notEnoughMemory(
                megapixels: Double(width * height) / 1e6, neededBytes: needed,
                availableBytes: availableBytes)
        }
    }
}
