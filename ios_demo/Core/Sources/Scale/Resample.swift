/// Anything that can be read a row at a time as floats, three colours per pixel.
public protocol RowSource {
    var height: Int { get }
    var width: Int { get }

    /// Writes the `3 * width` values of a row: red, green, blue, red, ...
    func load(row: Int, into target: UnsafeMutablePointer<Float>)
}

extension FloatImage {
    /// Scales with the triangle filter, in the units of the source, without rounding.
    public init(resampling source: some RowSource, height: Int, width: Int) {
        self.init(height: height, width: width)
        values.withUnsafeMutableBufferPointer { target in
            forEachResampledRow(of: source, height: height, width: width) { row, values in
                let start = target.baseAddress! + 3 * row * width
                start.update(from: values.baseAddress!, count: 3 * width)
            }
        }
    }
}

/// Scales with the triangle filter from top to bottom, a row at a time: a perturbation for 12
/// megapixels is never held as a whole (it would take 146 MB).
///
/// A height that shrinks is done before the width, one that grows after it, so that each language
/// adds up the same floats in the same order.
///
/// - Parameters:
///   - source: picture or perturbation.
///   - height: wanted height.
///   - width: wanted width.
///   - body: called with each row's number and its `3 * width` values, which are valid during the
///     call only.
public func forEachResampledRow(
    of source: some RowSource, height: Int, width: Int,
    _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
) rethrows {
    let down = Taps(from: source.height, to: height)
    let across = Taps(from: source.width, to: width)
    var line = [Float](repeating: 0, count: 3 * width)
    if height < source.height {
        var loaded = [Float](repeating: 0, count: 3 * source.width)
        var sum = loaded
        for row in 0..<height {
            zero(&sum)
            for (offset, weight) in down.weights[row].enumerated() {
                load(down.first[row] + offset, of: source, into: &loaded)
                accumulate(&sum, loaded, weight)
            }
            filterColumns(sum, across, into: &line)
            try line.withUnsafeBufferPointer { try body(row, $0) }
        }
    } else {
        var wide = WideRows(source: source, across: across, width: width)
        for row in 0..<height {
            zero(&line)
            for (offset, weight) in down.weights[row].enumerated() {
                accumulate(&line, wide.row(down.first[row] + offset), weight)
            }
            try line.withUnsafeBufferPointer { try body(row, $0) }
        }
    }
}

/// Rows of a source scaled to another width. Going down a picture that grows, each is asked for
/// many times in a row, and never more than two neighbours at a time.
private struct WideRows<Source: RowSource> {
    let source: Source
    let across: Taps
    private var rows: [[Float]]
    private var numbers = [-1, -1]
    private var loaded: [Float]

    init(source: Source, across: Taps, width: Int) {
        self.source = source
        self.across = across
        rows = Array(repeating: [Float](repeating: 0, count: 3 * width), count: 2)
        loaded = [Float](repeating: 0, count: 3 * source.width)
    }

    mutating func row(_ number: Int) -> [Float] {
        let slot = number % 2
        if numbers[slot] != number {
            load(number, of: source, into: &loaded)
            filterColumns(loaded, across, into: &rows[slot])
            numbers[slot] = number
        }
        return rows[slot]
    }
}

private func load(_ row: Int, of source: some RowSource, into line: inout [Float]) {
    line.withUnsafeMutableBufferPointer { source.load(row: row, into: $0.baseAddress!) }
}

private func zero(_ values: inout [Float]) {
    values.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
}

/// `sum += weight * values`, value by value.
private func accumulate(_ sum: inout [Float], _ values: [Float], _ weight: Float) {
    sum.withUnsafeMutableBufferPointer { sum in
        values.withUnsafeBufferPointer { values in
            for index in 0..<sum.count {
                sum[index] += weight * values[index]
            }
        }
    }
}

/// A row of `3 * n` values to one of `3 * m`, with taps from n to m.
private func filterColumns(_ row: [Float], _ taps: Taps, into target: inout [Float]) {
    row.withUnsafeBufferPointer { row in
        target.withUnsafeMutableBufferPointer { target in
            for column in 0..<taps.first.count {
                var (red, green, blue): (Float, Float, Float) = (0, 0, 0)
                var at = 3 * taps.first[column]
                for weight in taps.weights[column] {
                    red += weight * row[at]
                    green += weight * row[at + 1]
                    blue += weight * row[at + 2]
                    at += 3
                }
                target[3 * column] = red
                target[3 * column + 1] = green
                target[3 * column + 2] = blue
            }
        }
    }
}
