/// Reads a perturbation as Core ML hands it out: planes of 16-bit floats with any strides.
///
/// Half floats are read by their bits, since Swift's `Float16` does not exist on Intel Macs.
public struct PlanarHalf {
    /// First value of the red plane.
    public let base: UnsafeRawPointer
    public let height: Int
    public let width: Int
    /// Distances between neighbours, in values (not bytes).
    public let channelStride: Int
    public let rowStride: Int
    public let columnStride: Int

    public init(
        base: UnsafeRawPointer, height: Int, width: Int,
        channelStride: Int, rowStride: Int, columnStride: Int
    ) {
        self.base = base
        self.height = height
        self.width = width
        self.channelStride = channelStride
        self.rowStride = rowStride
        self.columnStride = columnStride
    }

    /// A copy, colours side by side.
    public func interleaved() -> FloatImage {
        var image = FloatImage(height: height, width: width)
        let source = base.assumingMemoryBound(to: UInt16.self)
        image.values.withUnsafeMutableBufferPointer { target in
            for channel in 0..<3 {
                for row in 0..<height {
                    let line = source + (channel * channelStride + row * rowStride)
                    let start = 3 * row * width + channel
                    for column in 0..<width {
                        target[start + 3 * column] = floatFromHalf(line[column * columnStride])
                    }
                }
            }
        }
        return image
    }
}

/// The value of an IEEE 754 binary16.
///
/// - Parameter bits: sign (1), exponent (5, bias 15), fraction (10).
public func floatFromHalf(_ bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10) & 0x1F
    let fraction = UInt32(bits & 0x3FF)
    switch exponent {
    case 0:
        // Zero and subnormal numbers: fraction * 2^-24, exact in a float.
        let magnitude = Float(fraction) * 0x1p-24
        return sign == 0 ? magnitude : -magnitude
    case 31:
        return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13)
    default:
        return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
}
